//! The request methods that the gate knows, and sets of them.
//!
//! Source: RFC 9110 section 9 and RFC 5789 (PATCH). The firewall refuses any other method before a route is looked up.

use std::fmt;

/// A request method in its canonical, upper-case form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// Every method, in the order in which sets are printed.
    pub const ALL: [Method; 7] = [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Patch,
        Method::Delete,
        Method::Options,
    ];

    /// Parses the exact upper-case token; methods are case-sensitive (RFC 9110 9.1).
    pub fn parse(token: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.as_str() == token)
    }

    /// The token as in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
        }
    }

    /// Whether the method only reads (RFC 9110 9.2.1, "safe").
    pub const fn is_safe(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Options)
    }

    /// Whether a request with this method has a body that an application reads (RFC 9110 9.3). A body with another
    /// method has no defined meaning, and a body rule never examines it.
    pub const fn carries_body(self) -> bool {
        matches!(self, Method::Post | Method::Put | Method::Patch | Method::Delete)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of methods.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct MethodSet(u8);

impl MethodSet {
    /// No method.
    pub const EMPTY: MethodSet = MethodSet(0);
    /// All seven methods: a row's `*`.
    pub const ALL: MethodSet = MethodSet(0b0111_1111);

    /// This set with `method` added.
    #[must_use]
    pub const fn with(self, method: Method) -> MethodSet {
        MethodSet(self.0 | 1 << method as u8)
    }

    /// The set that Flask serves for a rule that declares these methods: HEAD wherever GET is
    /// (Werkzeug `Rule.__init__`), and the automatic OPTIONS (Flask `add_url_rule`).
    #[must_use]
    pub const fn served(self) -> MethodSet {
        let with_head = if self.contains(Method::Get) { self.with(Method::Head) } else { self };
        with_head.with(Method::Options)
    }

    /// Whether `method` is in the set.
    pub const fn contains(self, method: Method) -> bool {
        self.0 & (1 << method as u8) != 0
    }

    /// Every method that is in either set.
    #[must_use]
    pub const fn union(self, other: MethodSet) -> MethodSet {
        MethodSet(self.0 | other.0)
    }

    /// Every method that is in both sets.
    #[must_use]
    pub const fn intersection(self, other: MethodSet) -> MethodSet {
        MethodSet(self.0 & other.0)
    }

    /// Whether no method is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in the order of [`Method::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |method| self.contains(*method))
    }
}

impl FromIterator<Method> for MethodSet {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        methods.into_iter().fold(MethodSet::EMPTY, MethodSet::with)
    }
}

impl fmt::Display for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == MethodSet::ALL {
            return f.write_str("*");
        }
        for (index, method) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(method.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MethodSet({self})")
    }
}
