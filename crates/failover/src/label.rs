//! One word for one thing: enums whose variants each have one fixed word, the same on the wire, on the disk, in the API, in
//! metrics, on the command line and in configuration.

/// A member of a closed set of words. What is not in the set cannot become a label of a metric, so nobody from outside can
/// make more of them.
pub trait Label: Copy + Eq + 'static {
    /// Every one, in the order of the declaration.
    const ALL: &'static [Self];
    /// The word of each, in that order.
    const LABELS: &'static [&'static str];

    /// Returns its word, as everybody outside reads and writes it.
    fn label(self) -> &'static str;

    /// Returns what it means, for whoever has to choose one.
    fn meaning(self) -> &'static str;

    /// Returns its place in [`Label::ALL`]: tables are looked up by it without hashing.
    fn place(self) -> usize;

    /// Returns the one with this word.
    fn from_label(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.label() == word)
    }
}

/// Declares an enum whose variants each have one word, and implements [`Label`] for it. A variant's documentation is its
/// meaning.
///
/// The word stands beside the variant and nowhere else: a second table would some day say another.
#[macro_export]
macro_rules! closed_set {
    ($($(#[$meta:meta])* $vis:vis enum $set:ident {
        $($(#[doc = $doc:literal])+ $variant:ident => $word:literal,)+
    })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $set { $($(#[doc = $doc])+ $variant,)+ }

        impl $set {
            /// Every one, in the order of the declaration.
            $vis const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns its word, as everybody outside reads and writes it.
            #[must_use]
            $vis const fn label(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl $crate::Label for $set {
            const ALL: &'static [Self] = Self::ALL;
            const LABELS: &'static [&'static str] = &[$($word,)+];

            fn label(self) -> &'static str {
                Self::label(self)
            }

            fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    )+};
}

/// Shows members of a closed set by their words.
#[macro_export]
macro_rules! display_label {
    ($($set:ty),+ $(,)?) => {$(
        impl core::fmt::Display for $set {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.label())
            }
        }
    )+};
}

/// Writes and reads members of closed sets as their words; nothing without the feature `serde`.
#[cfg(feature = "serde")]
#[macro_export]
macro_rules! spelled {
    ($($set:ty),+ $(,)?) => {$(
        impl $crate::used_by_macros::Serialize for $set {
            fn serialize<S: $crate::used_by_macros::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.label())
            }
        }

        impl<'de> $crate::used_by_macros::Deserialize<'de> for $set {
            fn deserialize<D: $crate::used_by_macros::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str($crate::used_by_macros::Word::<Self>(core::marker::PhantomData))
            }
        }
    )+};
}

/// Writes and reads members of closed sets as their words; nothing without the feature `serde`.
#[cfg(not(feature = "serde"))]
#[macro_export]
macro_rules! spelled {
    ($($set:ty),+ $(,)?) => {};
}

/// What the expansion of [`spelled!`](crate::spelled) names.
#[cfg(feature = "serde")]
#[doc(hidden)]
pub mod used_by_macros {
    use core::fmt;
    use core::marker::PhantomData;

    use serde::de::{Error, Visitor};
    pub use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Label;

    /// Reads a word of a closed set.
    #[derive(Debug)]
    pub struct Word<T>(pub PhantomData<T>);

    impl<T: Label> Visitor<'_> for Word<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for (place, word) in T::LABELS.iter().enumerate() {
                write!(f, "{}{word}", if place > 0 { " or " } else { "" })?;
            }
            Ok(())
        }

        fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
            T::from_label(word).ok_or_else(|| E::unknown_variant(word, T::LABELS))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::Label;

    closed_set! {
        /// How much of the moon is lit.
        enum Moon {
            /// Nothing of it.
            New => "new",
            /// All of it, which is seen
            /// at night.
            Full => "full_moon",
        }
    }
    spelled!(Moon);

    #[test]
    fn a_word_is_found_again_and_no_other_is() {
        let words: Vec<&str> = Moon::ALL.iter().map(|moon| moon.label()).collect();
        assert_eq!(words, Moon::LABELS);
        for (place, moon) in Moon::ALL.iter().enumerate() {
            assert_eq!((Moon::from_label(moon.label()), moon.place()), (Some(*moon), place));
        }
        assert_eq!(Moon::from_label("Full"), None);
        assert_eq!(Moon::Full.meaning(), "All of it, which is seen at night.");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_word_is_written_as_it_is_and_another_is_refused_with_those_that_are_known() {
        use std::string::ToString as _;

        use serde::Deserialize as _;
        use serde::de::IntoDeserializer as _;
        use serde::de::value::{Error, StrDeserializer, U64Deserializer};

        let words: StrDeserializer<'_, Error> = "full_moon".into_deserializer();
        assert_eq!(Moon::deserialize(words), Ok(Moon::Full));
        let words: StrDeserializer<'_, Error> = "half".into_deserializer();
        assert_eq!(
            Moon::deserialize(words).unwrap_err().to_string(),
            "unknown variant `half`, expected `new` or `full_moon`"
        );
        let number: U64Deserializer<Error> = 3u64.into_deserializer();
        assert_eq!(
            Moon::deserialize(number).unwrap_err().to_string(),
            "invalid type: integer `3`, expected new or full_moon"
        );
    }
}
