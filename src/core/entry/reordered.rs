//! Writes a response anew whose answer section has to change: without what is not part of the
//! answer, with the CNAMEs that a DNAME stands for, and with aliases before what they lead to.
//!
//! The additional section is left out (RFC 2181 §9 allows that). Hardly any upstream sends a
//! response that has to be written anew, so its bytes need not be few.

use crate::core::chain::{AnswerChain, AnswerPart};
use crate::core::message::{self, MalformedMessage, Records, Section};
use crate::core::rewriting::Rewriting;

/// Writes a response anew, with `chain` as its answer section.
///
/// # Errors
/// [`MalformedMessage`] when a record cannot be read, or the result is longer than 65 535 bytes.
pub(super) fn write(response: &[u8], mut chain: AnswerChain) -> Result<Vec<u8>, MalformedMessage> {
    let mut records = Records::new(response)?;
    let head = response.get(..records.position()).ok_or(MalformedMessage)?;
    let mut writing = Rewriting::new(response, head.to_vec())?;
    // The answer section, then the authority section as it is.
    for part in chain.in_order() {
        match part {
            AnswerPart::Record(start) => writing.copy(start, Section::Answer)?,
            AnswerPart::Synthesized(alias) => {
                writing.alias(&alias.owner, &alias.target, message::question_class(response)?, alias.ttl)?;
            }
        }
    }
    while let Some(record) = records.next_record()? {
        if record.section == Section::Authority {
            writing.copy(record.start, record.section)?;
        }
    }
    writing.finish()
}
