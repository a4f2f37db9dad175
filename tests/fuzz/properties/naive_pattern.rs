//! Flask's rules, read the naive way: a list of pieces, and a search that tries every way to cut a path.
//!
//! It says whether a rule's own pattern fits a path. Which of several fitting rules wins is not its business.

/// A rule, or a prefix.
#[derive(Clone, Debug)]
pub struct NaivePattern {
    pub pieces: Vec<NaivePiece>,
    pub is_prefix: bool,
}

#[derive(Clone, Debug)]
pub enum NaivePiece {
    /// Literal text, slashes included.
    Text(String),
    Variable(NaiveConverter),
}

#[derive(Clone, Debug)]
pub enum NaiveConverter {
    Text {
        least: usize,
        most: usize,
    },
    /// Whole numbers, and the value that they must have to be served.
    Int {
        signed: bool,
        min: Option<i128>,
        max: Option<i128>,
    },
    Float {
        signed: bool,
    },
    Path,
    Uuid,
    Any(Vec<String>),
}

impl NaivePattern {
    /// The text that `routes.toml` would hold.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            match piece {
                NaivePiece::Text(literal) => text.push_str(literal),
                NaivePiece::Variable(converter) => text.push_str(&format!("<{}v{index}>", converter.text())),
            }
        }
        if self.is_prefix { text + "/*" } else { text }
    }

    /// Whether the pattern fits the whole path.
    pub fn fits(&self, path: &str) -> bool {
        if self.is_prefix {
            let body = match self.pieces.as_slice() {
                [] => "",
                [NaivePiece::Text(body)] => body,
                _ => return false,
            };
            return path.strip_prefix(body).is_some_and(|below| below.is_empty() || below.starts_with('/'));
        }
        let characters: Vec<char> = path.chars().collect();
        let mut places = vec![0];
        for piece in &self.pieces {
            let mut next: Vec<usize> =
                places.iter().flat_map(|start| piece.ends(&characters, *start)).collect();
            next.sort_unstable();
            next.dedup();
            places = next;
        }
        places.contains(&characters.len())
    }

    /// Whether a value may be refused although its text fits, which ends Werkzeug's search.
    pub fn has_range(&self) -> bool {
        self.pieces.iter().any(|piece| {
            matches!(
                piece,
                NaivePiece::Variable(NaiveConverter::Int { min, max, .. }) if min.is_some() || max.is_some()
            )
        })
    }

    /// Whether values, put back into the pattern, give the path, and each of them is one of its converter's.
    pub fn is_made_of(&self, path: &str, values: &[&str]) -> bool {
        let mut values = values.iter();
        let mut rebuilt = String::new();
        for piece in &self.pieces {
            match piece {
                NaivePiece::Text(text) => rebuilt.push_str(text),
                NaivePiece::Variable(converter) => match values.next() {
                    Some(value) if converter.takes(value) && converter.serves(value) => {
                        rebuilt.push_str(value);
                    }
                    _ => return false,
                },
            }
        }
        values.next().is_none() && rebuilt == path
    }

    /// A path that fits, with values of the given seed.
    pub fn example(&self, seed: u8) -> String {
        let seed = usize::from(seed);
        let pick = |choices: &[&str]| choices[seed % choices.len()].to_owned();
        let mut path = String::new();
        for piece in &self.pieces {
            path.push_str(&match piece {
                NaivePiece::Text(text) => text.clone(),
                NaivePiece::Variable(converter) => match converter {
                    NaiveConverter::Text { least, .. } => {
                        pick(&["a", "b", "1", "-", "new", "é"]).repeat(*least)
                    }
                    NaiveConverter::Int { min, .. } => {
                        format!("{}", min.unwrap_or(0) + (seed % 4) as i128)
                    }
                    NaiveConverter::Float { .. } => pick(&["1.5", "0.0"]),
                    NaiveConverter::Path => pick(&["a", "a/b", "a/b/c", "1", "a/"]),
                    NaiveConverter::Uuid => "12345678-1234-1234-1234-123456789abc".to_owned(),
                    NaiveConverter::Any(items) => items[seed % items.len()].clone(),
                },
            });
        }
        match (self.is_prefix, path.is_empty()) {
            (true, _) => path + &pick(&["/", "/a", "/a/b"]),
            (false, true) => "/".to_owned(),
            (false, false) => path,
        }
    }
}

impl NaivePiece {
    /// Every place where the piece can end if it begins at `start`.
    fn ends(&self, text: &[char], start: usize) -> Vec<usize> {
        match self {
            NaivePiece::Text(literal) => {
                let end = start + literal.chars().count();
                let is_here =
                    text.get(start..end).is_some_and(|here| literal.chars().eq(here.iter().copied()));
                if is_here { vec![end] } else { Vec::new() }
            }
            NaivePiece::Variable(converter) => (start + 1..=text.len())
                .filter(|end| converter.takes(&text[start..*end].iter().collect::<String>()))
                .collect(),
        }
    }
}

impl NaiveConverter {
    fn text(&self) -> String {
        let sign = |signed: &bool| if *signed { "signed=True" } else { "" };
        match self {
            NaiveConverter::Text { least: 1, most: usize::MAX } => String::new(),
            NaiveConverter::Text { least, most: usize::MAX } => format!("string(minlength={least}):"),
            NaiveConverter::Text { least, most } => format!("string(minlength={least}, maxlength={most}):"),
            NaiveConverter::Int { signed, min, max } => {
                let range = [("min", min), ("max", max)];
                let mut arguments: Vec<String> = range
                    .iter()
                    .filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)))
                    .collect();
                if *signed {
                    arguments.push(sign(signed).to_owned());
                }
                format!("int({}):", arguments.join(", "))
            }
            NaiveConverter::Float { signed } => format!("float({}):", sign(signed)),
            NaiveConverter::Path => "path:".to_owned(),
            NaiveConverter::Uuid => "uuid:".to_owned(),
            NaiveConverter::Any(items) => format!("any({}):", items.join(", ")),
        }
    }

    /// Whether the text has the converter's form (Werkzeug's regex).
    fn takes(&self, text: &str) -> bool {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let unsigned = |signed: &bool| if *signed { text.strip_prefix('-').unwrap_or(text) } else { text };
        match self {
            NaiveConverter::Text { least, most } => {
                !text.contains('/') && (*least..=*most).contains(&text.chars().count())
            }
            NaiveConverter::Int { signed, .. } => is_number(unsigned(signed)),
            NaiveConverter::Float { signed } => {
                let parts: Vec<&str> = unsigned(signed).split('.').collect();
                matches!(parts.as_slice(), [whole, fraction] if is_number(whole) && is_number(fraction))
            }
            NaiveConverter::Path => {
                !text.is_empty()
                    && !text.starts_with('/')
                    && !text.chars().skip(1).any(|character| character == '\n')
            }
            NaiveConverter::Uuid => {
                let groups: Vec<&str> = text.split('-').collect();
                groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
                    && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
            }
            NaiveConverter::Any(items) => items.iter().any(|item| item == text),
        }
    }

    /// Whether the value is in range.
    fn serves(&self, text: &str) -> bool {
        let NaiveConverter::Int { min, max, .. } = self else { return true };
        let Ok(value) = text.parse::<i128>() else { return min.is_none() && max.is_none() };
        min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max)
    }
}

/// Reads the patterns that mappings use most: `<id>`, `<int:id>`, `<path:p>`, `<uuid:u>`; `None` for any other.
pub fn read(text: &str) -> Option<NaivePattern> {
    let (body, is_prefix) = match text.strip_suffix("/*") {
        Some(body) => (body, true),
        None => (text, false),
    };
    let mut pieces = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let end = rest.find('<').unwrap_or(rest.len());
        if end > 0 {
            pieces.push(NaivePiece::Text(rest[..end].to_owned()));
            rest = &rest[end..];
            continue;
        }
        let (variable, after) = rest[1..].split_once('>')?;
        pieces.push(NaivePiece::Variable(match variable.split_once(':') {
            None => NaiveConverter::Text { least: 1, most: usize::MAX },
            Some(("string" | "default", _)) => NaiveConverter::Text { least: 1, most: usize::MAX },
            Some(("int", _)) => NaiveConverter::Int { signed: false, min: None, max: None },
            Some(("float", _)) => NaiveConverter::Float { signed: false },
            Some(("path", _)) => NaiveConverter::Path,
            Some(("uuid", _)) => NaiveConverter::Uuid,
            Some(_) => return None,
        }));
        rest = after;
    }
    Some(NaivePattern { pieces, is_prefix })
}
