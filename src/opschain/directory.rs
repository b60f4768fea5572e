//! The LDAP server that OpsChain asks for its users, as the values have it.

use serde_json::Value;
use zeroize::Zeroizing;

/// The administrator of a stock install, below the base.
const STOCK_ADMIN: &str = "admin";
const LDAP_PORT: u16 = 389;

/// What values say of the LDAP server.
pub struct DirectoryValues {
    /// The install runs its own.
    pub is_bundled: bool,
    /// Below which name all entries are, where the values say it.
    pub base: Option<String>,
    /// Where a server outside of the install is.
    pub outside: Option<(String, u16)>,
    admin: Option<String>,
    pub password: Zeroizing<String>,
}

impl DirectoryValues {
    /// What `values` say.
    pub fn of(values: &Value) -> Self {
        let text = |key: &str| {
            let value = values["env"][key].as_str().map(str::to_owned);
            value
                .or_else(|| values["env"][key].as_i64().map(|number| number.to_string()))
                .filter(|text| !text.is_empty())
        };
        let is_bundled = runs_own(values);
        let port = text("OPSCHAIN_LDAP_PORT").and_then(|port| port.parse().ok()).unwrap_or(LDAP_PORT);
        let outside = text("OPSCHAIN_LDAP_HOST").filter(|_| !is_bundled).map(|host| (host, port));
        Self {
            is_bundled,
            base: text("OPSCHAIN_LDAP_BASE_DN"),
            outside,
            admin: text("OPSCHAIN_LDAP_ADMIN"),
            password: Zeroizing::new(text("OPSCHAIN_LDAP_PASSWORD").unwrap_or_default()),
        }
    }

    /// The administrator's name, below `base` where the values have a plain word.
    pub fn admin(&self, base: &str) -> String {
        match self.admin.as_deref().unwrap_or(STOCK_ADMIN) {
            name if name.contains('=') => name.to_owned(),
            word => format!("cn={word},{base}"),
        }
    }
}

/// Whether an install of these values runs an LDAP server of its own.
pub fn runs_own(values: &Value) -> bool {
    values.pointer("/ldap/enabled").and_then(Value::as_bool).unwrap_or(true)
}

/// So many entries, in words.
pub fn entries(count: u64) -> String {
    if count == 1 { "1 LDAP entry".to_owned() } else { format!("{count} LDAP entries") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_signs_in_where_is_told_by_the_values() {
        let stock = DirectoryValues::of(&json!({}));
        assert!(stock.is_bundled && stock.base.is_none() && stock.outside.is_none());
        assert_eq!(stock.admin("dc=a"), "cn=admin,dc=a");
        let env = json!({"OPSCHAIN_LDAP_ADMIN": "root", "OPSCHAIN_LDAP_HOST": "ldap", "OPSCHAIN_LDAP_BASE_DN": "dc=b"});
        let own = DirectoryValues::of(&json!({"env": env}));
        assert_eq!(
            (own.admin("dc=b"), own.outside.as_ref(), own.base.as_deref()),
            ("cn=root,dc=b".into(), None, Some("dc=b"))
        );
        let env = json!({"OPSCHAIN_LDAP_ADMIN": "uid=x,dc=c", "OPSCHAIN_LDAP_HOST": "ldap.example.org", "OPSCHAIN_LDAP_PORT": 636});
        let outside = DirectoryValues::of(&json!({"ldap": {"enabled": false}, "env": env}));
        assert_eq!(outside.outside, Some(("ldap.example.org".into(), 636)));
        assert_eq!(outside.admin("dc=b"), "uid=x,dc=c");
    }
}
