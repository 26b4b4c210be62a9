//! What a plain scalar is: nothing, a truth, a number or text. By the rules that serde_yaml has for whole documents, so that
//! the preset, which it reads, and a file, which [`Tree`](crate::Tree) reads, mean the same by the same word.

use serde_yaml::{Number, Value};

/// Types a scalar that stands without quotes (YAML 1.2.2 section 10.3.2, with `0b` besides).
pub(crate) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    // Two signs, or an extension number of a telephone: `-+1`, `0033`.
    if digits.starts_with(['+', '-']) || digits.len() > 1 && digits.starts_with('0') && is_digits(digits) {
        return None;
    }
    if let Some(magnitude) = integer(digits) {
        // More than 64 bits are no number of ours, and a float would be another one.
        return match negative {
            true => i64::try_from(-i128::try_from(magnitude).ok()?).ok().map(Number::from),
            false => u64::try_from(magnitude).ok().map(Number::from),
        };
    }
    let sign = if negative { -1.0 } else { 1.0 };
    match digits {
        ".inf" | ".Inf" | ".INF" => return Some((sign * f64::INFINITY).into()),
        ".nan" | ".NaN" | ".NAN" if digits == text => return Some(f64::NAN.into()),
        _ => {}
    }
    // Rust reads `inf`, `infinity` and `nan`, too; they are words here.
    let float = digits.parse::<f64>().ok().filter(|float| float.is_finite())?;
    Some((sign * float).into())
}

fn integer(digits: &str) -> Option<u128> {
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(prefix).filter(|digits| !digits.starts_with(['+', '-'])) {
            return u128::from_str_radix(digits, radix).ok();
        }
    }
    is_digits(digits).then(|| digits.parse().ok()).flatten()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table of what serde_yaml says")]
    fn a_scalar_is_what_it_is_in_a_whole_document() {
        let mut texts: Vec<String> = [
            "~",
            "null",
            "Null",
            "NULL",
            "nULL",
            "true",
            "True",
            "TRUE",
            "tRUE",
            "false",
            "False",
            "FALSE",
            "yes",
            "off",
            "0",
            "-0",
            "+0",
            "7",
            "+7",
            "-7",
            "--7",
            "+-7",
            "-+7",
            "007",
            "-007",
            "00",
            "0033123",
            "0x1F",
            "-0x1F",
            "+0x1f",
            "0x",
            "0xg",
            "0x+1",
            "-0x-1",
            "0o17",
            "0o8",
            "0b101",
            "0b2",
            "-0b11",
            "0X1F",
            "1_000",
            "1.5",
            "-1.5",
            "+1.5",
            ".5",
            "5.",
            "1e3",
            "1E-3",
            "1e400",
            "e3",
            ".",
            "..",
            "1.2.3",
            "1.2.3.4",
            ".inf",
            "-.inf",
            "+.inf",
            ".INF",
            ".Inf",
            ".iNF",
            ".nan",
            "-.nan",
            "+.nan",
            ".NaN",
            ".NAN",
            "inf",
            "-inf",
            "nan",
            "NaN",
            "infinity",
            "5s",
            "1m30s",
            "64KiB",
            "10.0.0.1",
            "10.0.0.1:443",
            "::1",
            "/xuc",
            "200-299",
            "2xx",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999",
            "0xffffffffffffffff",
            "x y",
            "0x1ffffffffffffffff",
            "-0x8000000000000000",
            "-0x8000000000000001",
            "-18446744073709551616",
        ]
        .map(str::to_owned)
        .into();
        let alphabet = ['0', '1', '9', '-', '+', '.', 'e', 'x', 'n'];
        for length in 1..=4 {
            for mut index in 0..alphabet.len().pow(length) {
                let mut text = String::new();
                for _ in 0..length {
                    text.push(alphabet[index % alphabet.len()]);
                    index /= alphabet.len();
                }
                texts.push(text);
            }
        }
        for text in texts {
            // In a mapping, as a document of `...` or `---` alone is an empty one.
            let document = format!("key: {text}");
            let Ok(whole) = serde_yaml::from_str::<Value>(&document) else { continue };
            let (ours, theirs) = (plain(&text), whole["key"].clone());
            if theirs.is_sequence() || theirs.is_mapping() {
                continue;
            }
            let same = match (&ours, &theirs) {
                (Value::Number(ours), Value::Number(theirs)) if ours.is_nan() => theirs.is_nan(),
                _ => ours == theirs,
            };
            assert!(same, "{text}: {ours:?} and not {theirs:?}");
        }
    }
}
