//! Which of our languages a client reads: `Accept-Language` (RFC 9110 section 12.5.4).

/// A language our pages speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    French,
}

/// More ranges than any browser sends; what follows them is not read.
const RANGES_READ: usize = 32;

impl Language {
    /// Chooses French where the client prefers it, else English. Of two it likes equally, the one named first.
    pub(super) fn preferred(accept_language: Option<&[u8]>) -> Self {
        let Some(field) = accept_language.and_then(|field| std::str::from_utf8(field).ok()) else {
            return Self::English;
        };
        let ranges: Vec<Range<'_>> = field.split(',').take(RANGES_READ).filter_map(Range::parse).collect();
        let (french, english) = (Wish::of("fr", &ranges), Wish::of("en", &ranges));
        // A quality of 0 is a refusal (RFC 9110 section 12.4.2), however little English is liked.
        let wanted = french.quality > 0;
        if wanted && (french.quality, english.place) > (english.quality, french.place) {
            Self::French
        } else {
            Self::English
        }
    }

    /// The tag for `Content-Language` and `lang`.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }
}

/// How much a client wants one language, and how early it says so.
struct Wish {
    quality: u16,
    place: usize,
}

impl Wish {
    /// Takes the best range that names the language; only without one does `*` count.
    fn of(language: &str, ranges: &[Range<'_>]) -> Self {
        let naming = |name: &str| {
            ranges
                .iter()
                .enumerate()
                .filter(|(_, range)| range.primary.eq_ignore_ascii_case(name))
                .map(|(place, range)| Self { quality: range.quality, place })
                .reduce(|best, next| if next.quality > best.quality { next } else { best })
        };
        naming(language).or_else(|| naming("*")).unwrap_or(Self { quality: 0, place: usize::MAX })
    }
}

/// One element of the field: `fr-CA;q=0.8`.
struct Range<'a> {
    primary: &'a str,
    /// In thousandths: a weight has three decimals at most (RFC 9110 section 12.4.2).
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(element: &'a str) -> Option<Self> {
        let (tag, weight) = match element.split_once(';') {
            Some((tag, weight)) => (tag, Some(weight)),
            None => (element, None),
        };
        let primary = tag.trim().split('-').next().filter(|primary| !primary.is_empty())?;
        // A parameter other than `q` makes a range of another kind, and is passed over whole.
        let quality = match weight {
            Some(weight) => thousandths(weight.trim().strip_prefix(['q', 'Q'])?.strip_prefix('=')?)?,
            None => 1000,
        };
        Some(Self { primary, quality })
    }
}

/// Reads a qvalue (RFC 9110 section 12.4.2): 0 to 1 with at most three decimals.
fn thousandths(qvalue: &str) -> Option<u16> {
    let (whole, decimals) = qvalue.split_once('.').unwrap_or((qvalue, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let fraction = decimals.bytes().chain(*b"000").take(3).fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match (whole, fraction) {
        ("0", _) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Language;

    fn chosen(field: &str) -> &'static str {
        Language::preferred(Some(field.as_bytes())).tag()
    }

    #[test]
    fn french_is_chosen_where_it_is_preferred() {
        for field in [
            "fr",
            "FR",
            "fr-FR,fr;q=0.9,en-US;q=0.8,en;q=0.7",
            "fr-CA",
            "de, fr;q=0.5",
            "en;q=0.3, fr;q=0.301",
            "en;q=0, *",
            "fr, en",
            "de;q=1.000 , fr ; q=0.1",
            "en;q=0.5, fr-BE;q=0.2, fr;q=0.6",
            "en;q=7, fr;q=0.1",
        ] {
            assert_eq!(chosen(field), "fr", "{field}");
        }
    }

    #[test]
    fn english_is_chosen_for_everybody_else() {
        for field in [
            "",
            "en",
            "en-GB,en;q=0.9,fr;q=0.8",
            "de",
            "*",
            "fr;q=0",
            "fr;q=0.0, de",
            "en, fr",
            "*;q=0.5, fr;q=0",
            "frr",
            "fr;q=1.001",
            "fr;q=abc",
            "fr;level=1",
            ",,;,-",
        ] {
            assert_eq!(chosen(field), "en", "{field}");
        }
        assert_eq!(Language::preferred(None).tag(), "en");
        assert_eq!(Language::preferred(Some(b"\xff\xfe, fr")).tag(), "en");
    }
}
