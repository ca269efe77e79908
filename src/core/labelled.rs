//! Defines an enum together with everything that counting and reporting by its variants needs.
//!
//! An enum whose variants are counted needs a list of its variants, one word for each of them, and
//! a position for each in an array of counters. Kept by hand, the list and the positions have to be
//! changed with every new variant, and the compiler notices only some of the mistakes. The macro
//! `labelled!` derives all three from the definition, where the word stands beside its variant.
//!
//! The word is the only name of a variant outside the code: metric labels, log fields and the keys
//! of `--json` all use it. It is part of the interface and does not change with the variant's name.
//!
//! [`Labelled`] lets other code be generic over these enums. Its [`Labelled::PerVariant`] is an
//! array with one element per variant, so that an array of counters never has the wrong length.

use std::fmt::Debug;

/// An enum that was defined with `labelled!`.
pub trait Labelled: Copy + Debug + 'static {
    /// An array with one element for each variant, in the order of their definition.
    type PerVariant<T: Debug + Default>: AsRef<[T]> + Debug + Default;

    /// All variants, in the order of their definition.
    const VARIANTS: &'static [Self];

    /// The word for this variant in metrics, in the log and in the output of `--json`.
    fn label(self) -> &'static str;

    /// The position of this variant in [`Labelled::VARIANTS`] and [`Labelled::PerVariant`].
    fn index(self) -> usize;
}

/// Defines an enum without data whose variants each have a label, and lists its variants in `ALL`.
///
/// ```ignore
/// labelled! {
///     /// The colour of a traffic light.
///     #[derive(Clone, Copy, Debug, PartialEq, Eq)]
///     pub enum Light {
///         /// Cars stop.
///         Red = "red",
///         /// Cars drive.
///         Green = "green",
///     }
/// }
///
/// assert_eq!(Light::ALL.map(Light::label), ["red", "green"]);
/// assert_eq!(Light::Green.index(), 1);
/// ```
macro_rules! labelled {
    (
        $(#[$of_enum:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$of_variant:meta])* $variant:ident = $label:literal),+ $(,)?
        }
    ) => {
        $(#[$of_enum])*
        $visibility enum $name {
            $($(#[$of_variant])* $variant),+
        }

        impl $name {
            /// All variants, in the order of their definition.
            $visibility const ALL: [Self; [$($label),+].len()] = [$(Self::$variant),+];

            /// The word for this variant in metrics, in the log and in the output of `--json`.
            #[must_use]
            $visibility const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label),+
                }
            }

            /// The position of this variant in [`Self::ALL`].
            #[must_use]
            $visibility const fn index(self) -> usize {
                self as usize
            }
        }

        impl $crate::core::labelled::Labelled for $name {
            type PerVariant<T: ::std::fmt::Debug + ::std::default::Default> = [T; Self::ALL.len()];

            const VARIANTS: &'static [Self] = &Self::ALL;

            fn label(self) -> &'static str {
                Self::label(self)
            }

            fn index(self) -> usize {
                Self::index(self)
            }
        }
    };
}

pub(crate) use labelled;

#[cfg(test)]
mod tests {
    use super::*;

    labelled! {
        /// An example.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Direction {
            /// Towards the top of the page.
            North = "north",
            /// Towards the bottom of the page.
            South = "south",
        }
    }

    #[test]
    fn variants_are_listed_in_order_with_their_labels_and_positions() {
        assert_eq!(Direction::ALL, [Direction::North, Direction::South]);
        assert_eq!(Direction::ALL.map(Direction::label), ["north", "south"]);
        assert_eq!(Direction::ALL.map(Direction::index), [0, 1]);
        assert_eq!(Direction::VARIANTS, Direction::ALL);
    }

    #[test]
    fn an_array_per_variant_has_an_element_for_each() {
        let counts: <Direction as Labelled>::PerVariant<u64> = Default::default();
        assert_eq!(counts.as_ref().len(), Direction::ALL.len());
    }
}
