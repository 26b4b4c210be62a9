//! Closed sets: enums whose variants each have one fixed name in logs and metrics. What is not in the set cannot become
//! a label, so nobody from outside can make more of them.

/// Declares a closed set: an enum, `ALL` of it in order, and the `name` of each.
macro_rules! closed_set {
    ($(#[$meta:meta])* $vis:vis enum $set:ident { $($(#[$doc:meta])* $variant:ident => $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $set { $($(#[$doc])* $variant,)+ }

        impl $set {
            /// Every one, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in logs and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use closed_set;
