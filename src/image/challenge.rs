//! What a registry asks for before it takes anything: the `WWW-Authenticate` of RFC 9110, 11.6.1.

/// How a registry wants to know who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token, to be had from another server.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// The first that is known of those in the header's value, a token before a password.
    pub fn read(header: &str) -> Option<Self> {
        let offers = offers(header);
        let bearer = offers.iter().find(|offer| offer.scheme.eq_ignore_ascii_case("bearer")).and_then(|offer| {
            let of = |name: &str| Some(offer.parameters.iter().find(|(key, _)| key == name)?.1.clone());
            Some(Self::Bearer { realm: of("realm")?, service: of("service") })
        });
        let basic = offers.iter().any(|offer| offer.scheme.eq_ignore_ascii_case("basic"));
        bearer.or(basic.then_some(Self::Basic))
    }
}

/// One way that is offered, with its parameters.
struct Offer {
    scheme: String,
    parameters: Vec<(String, String)>,
}

/// `Bearer realm="https://a/token",service="r", Basic realm="x"`
fn offers(header: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for part in parts(header) {
        // A part begins an offer where a word stands before its name: `Bearer realm=...`, or a word alone.
        let (before, value) = part.split_once('=').unwrap_or((&part, ""));
        let mut words = before.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        let name = match (second, part.contains('=')) {
            (None, true) => first,
            (name, _) => {
                offers.push(Offer { scheme: first.to_owned(), parameters: Vec::new() });
                name.unwrap_or_default()
            }
        };
        if let Some(offer) = offers.last_mut().filter(|_| !name.is_empty()) {
            offer.parameters.push((name.to_ascii_lowercase(), unquoted(value.trim())));
        }
    }
    offers
}

/// The text between its commas, those in quotes left alone.
fn parts(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in text.chars().chain([',']) {
        if c == ',' && !quoted {
            parts.push(std::mem::take(&mut part).trim().to_owned());
            continue;
        }
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = c == '\\' && !escaped;
        part.push(c);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn unquoted(text: &str) -> String {
    let Some(inside) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return text.to_owned() };
    let (mut out, mut escaped) = (String::new(), false);
    for c in inside.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            c => {
                out.push(c);
                escaped = false;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_before_a_password_whatever_their_order_and_quotes() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(str::to_owned) })
        };
        let both = r#"Basic realm="a, b", Bearer realm="https://auth.example/token",service="r.example",scope="x:y:pull,push""#;
        assert_eq!(Challenge::read(both), bearer("https://auth.example/token", Some("r.example")));
        assert_eq!(Challenge::read("bearer Realm=https://h/t"), bearer("https://h/t", None));
        assert_eq!(Challenge::read("Basic"), Some(Challenge::Basic));
        assert_eq!(Challenge::read(r#"Basic realm="x\"y""#), Some(Challenge::Basic));
        assert_eq!(Challenge::read(r#"Bearer service="no realm""#), None);
        for none in ["", ",", "Negotiate", "=", "\"", "Bearer realm=\"cut"] {
            assert!(!matches!(Challenge::read(none), Some(Challenge::Basic)), "{none}");
        }
    }
}
