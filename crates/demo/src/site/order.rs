//! What a running demo is told, in one word.

use clap::ValueEnum;
use failover::Side;

/// One word on the command line, and typed into the running demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Kill Main.
    KillMain,
    /// Let Main hang: a black hole.
    HangMain,
    /// Bring Main back.
    StartMain,
    /// Kill Standby.
    KillStandby,
    /// Let Standby hang: a black hole.
    HangStandby,
    /// Bring Standby back.
    StartStandby,
    /// End the demo.
    Quit,
}

/// What is done to a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Kill,
    Hang,
    Start,
}

impl Order {
    /// What is done to whom; nothing: the demo ends.
    pub(super) fn about(self) -> Option<(Act, Side)> {
        Some(match self {
            Self::KillMain => (Act::Kill, Side::Main),
            Self::HangMain => (Act::Hang, Side::Main),
            Self::StartMain => (Act::Start, Side::Main),
            Self::KillStandby => (Act::Kill, Side::Standby),
            Self::HangStandby => (Act::Hang, Side::Standby),
            Self::StartStandby => (Act::Start, Side::Standby),
            Self::Quit => return None,
        })
    }

    pub(super) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// What a typed line orders; nothing if it is empty. The error says what may be typed.
pub(super) fn typed(line: &str) -> Result<Option<Order>, String> {
    match line.trim() {
        "" => Ok(None),
        word => Order::from_str(word, true).map(Some).map_err(|_| {
            let words: Vec<_> = Order::value_variants().iter().map(|order| order.word()).collect();
            format!("Type one of: {}.", words.join(", "))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_orders_one_thing_and_others_are_answered_with_the_words() {
        for order in Order::value_variants() {
            assert_eq!(typed(&format!(" {} \n", order.word())), Ok(Some(*order)));
        }
        assert_eq!(typed(" "), Ok(None));
        let help = typed("help").unwrap_err();
        assert!(help.contains("kill-main") && help.contains("quit"), "{help}");
    }
}
