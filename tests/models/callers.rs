//! Who sends a request, and with which credentials.

use crate::random::Random;
use crate::world::{MARKER, World};

/// A cookie named `session`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// Of this admin, sound and new.
    Of(String),
    /// Of this admin, with another key's signature.
    Forged(String),
    /// Of this admin, signed longer ago than a session lasts.
    Old(String),
    /// Sound, and names no admin.
    OfNobody,
}

/// An `Authorization` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// The bearer token of this machine.
    Token(String),
    /// A bearer token that no machine has.
    UnknownToken,
    Basic,
}

/// One caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub cookie: Option<Cookie>,
    pub authorization: Option<Authorization>,
    /// A field named `...-signature`.
    pub signature: bool,
}

impl Caller {
    pub fn nobody() -> Caller {
        Caller::default()
    }

    pub fn admin(id: &str) -> Caller {
        Caller { cookie: Some(Cookie::Of(id.to_owned())), ..Caller::default() }
    }

    pub fn machine(id: &str) -> Caller {
        Caller { authorization: Some(Authorization::Token(id.to_owned())), ..Caller::default() }
    }

    pub fn unknown_token() -> Caller {
        Caller { authorization: Some(Authorization::UnknownToken), ..Caller::default() }
    }

    /// The admin, where the caller is one and nothing else.
    pub fn is_admin(&self) -> Option<&str> {
        match self {
            Caller { cookie: Some(Cookie::Of(id)), authorization: None, signature: false } => Some(id),
            _ => None,
        }
    }

    /// The machine, where the caller is one and nothing else.
    pub fn is_machine(&self) -> Option<&str> {
        match self {
            Caller { cookie: None, authorization: Some(Authorization::Token(id)), signature: false } => {
                Some(id)
            }
            _ => None,
        }
    }

    pub fn in_words(&self) -> String {
        let mut words = Vec::new();
        match &self.cookie {
            None => {}
            Some(Cookie::Of(id)) => words.push(format!("the session of {id}")),
            Some(Cookie::Forged(id)) => words.push(format!("a forged session of {id}")),
            Some(Cookie::Old(id)) => words.push(format!("an old session of {id}")),
            Some(Cookie::OfNobody) => words.push("a session of nobody".to_owned()),
        }
        match &self.authorization {
            None => {}
            Some(Authorization::Token(id)) => words.push(format!("the token {id}")),
            Some(Authorization::UnknownToken) => words.push("an unknown token".to_owned()),
            Some(Authorization::Basic) => words.push("a password".to_owned()),
        }
        if self.signature {
            words.push("a signature".to_owned());
        }
        if words.is_empty() { "nobody".to_owned() } else { words.join(" and ") }
    }

    /// Everybody in the world by themselves, strangers, and some with several or with bad credentials.
    pub fn all(world: &World, random: &mut Random) -> Vec<Caller> {
        let mut callers: Vec<Caller> = Vec::new();
        let admins = world.admins.iter().filter(|admin| admin.id != MARKER);
        callers.extend(admins.map(|admin| Caller::admin(&admin.id)));
        callers.extend(world.tokens.iter().map(|token| Caller::machine(&token.id)));
        callers.push(Caller::nobody());
        callers.push(Caller::unknown_token());
        let admin = world.admins[random.below(world.admins.len())].id.clone();
        let token = world.tokens[random.below(world.tokens.len())].id.clone();
        let odd = [
            Caller::admin("stranger"),
            Caller { cookie: Some(Cookie::Forged(admin.clone())), ..Caller::default() },
            Caller { cookie: Some(Cookie::Old(admin.clone())), ..Caller::default() },
            Caller { cookie: Some(Cookie::OfNobody), ..Caller::default() },
            Caller { signature: true, ..Caller::admin(&admin) },
            Caller { signature: true, ..Caller::default() },
            Caller { authorization: Some(Authorization::Basic), ..Caller::admin(&admin) },
            Caller { authorization: Some(Authorization::Token(token)), ..Caller::admin(&admin) },
            Caller { authorization: Some(Authorization::UnknownToken), ..Caller::admin(&admin) },
        ];
        callers.extend(random.some(&odd, 3, 3));
        callers
    }
}
