//! Where remembered answers came from: the upstreams of this process, or a place where answers are
//! kept outside of it.

use crate::core::labelled::labelled;

labelled! {
    /// Where a remembered answer came from.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Origin {
        /// An upstream gave the answer just now.
        Upstream = "upstream",
        /// Another run of the process left the answer in the state file.
        StateFile = "state_file",
        /// A seed file had the answer.
        Seed = "seed",
        /// An operator imported the answer into the running process.
        Import = "import",
        /// The shared cache had the answer.
        SharedCache = "shared_cache",
    }
}
