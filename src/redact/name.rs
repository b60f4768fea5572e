//! Which names hold secrets: a key taken apart into words.

/// Keys that hold secrets where no general rule below finds them: OpsChain's own, Bundler's logins, Honeycomb's header.
const KNOWN: &[&str] = &[
    "OPSCHAIN_DOCKER_USER",
    "mintPressLicence",
    "BUNDLE_ENTERPRISE__CONTRIBSYS__COM",
    "BUNDLE_GEMS__CONTRIBSYS__COM",
    "x-honeycomb-team",
];

/// Words that make a key secret when they are one of its words: `OPSCHAIN_PRIMARY_KEY`, `unsealKey`, `dbPassword`.
const WORDS: &[&str] = &[
    "password",
    "passwords",
    "passwd",
    "pass",
    "passphrase",
    "passphrases",
    "passcode",
    "pwd",
    "secret",
    "token",
    "tokens",
    "key",
    "apikey",
    "apikeys",
    "salt",
    "seed",
    "credential",
    "credentials",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "dockerconfigjson",
    "dockerconfig",
    "dockercfg",
    "private",
    "htpasswd",
    "netrc",
    "pgpass",
    "pin",
    "otp",
    "licence",
    "license",
    "pw",
    "psk",
    "hmac",
    "totp",
    "jwt",
    "sas",
    "dsn",
    "mnemonic",
    "unseal",
    "cred",
    "creds",
    "kek",
    "dek",
    "senha",
    "mdp",
];

/// Last words that make a key secret: `snmp.community`, `sig=...`.
const LAST: &[&str] = &[
    "community",
    "communities",
    "rocommunity",
    "rwcommunity",
    "sig",
    "signature",
    "webhook",
    "webhooks",
    "tok",
    "pepper",
    "assertion",
    "macaroon",
    "pat",
];

/// Ends of a word written without a break: `PGPASSWORD`, `SIGNINGKEY`, `dbtoken`.
const ENDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "masterkey",
    "sharedkey",
    "apikeys",
    "accesskeys",
    "secretkeys",
    "privatekeys",
    "signingkeys",
    "encryptionkeys",
    "requirepass",
    "masterauth",
    "pw",
    "psk",
    "authkey",
    "sshkey",
    "secretid",
    "idrsa",
    "idecdsa",
    "ided25519",
    "sajson",
    "accountjson",
    "connectionstring",
    "connstring",
    "connstr",
    "slackhook",
    "discordhook",
    "teamshook",
    "mattermosthook",
    "chathook",
    "kennwort",
    "passwort",
    "contrasena",
    "contraseña",
    "motdepasse",
    "wachtwoord",
    "lozinka",
    "salasana",
    "jelszo",
    "jelszó",
    "haslo",
    "hasło",
    "losenord",
    "lösenord",
    "adgangskode",
    "passord",
    "sifre",
    "şifre",
    "parool",
    "slaptazodis",
    "geheim",
    "heslo",
    "parola",
    "пароль",
    "密码",
    "recoverykeys",
    "recoverycode",
    "recoverycodes",
    "backupcode",
    "backupcodes",
    "securityanswer",
    "keytab",
    "authtok",
    "authtoken",
    "secretaccesskey",
    "presharedkey",
    "privkey",
    "unlockcode",
];

/// Words that end in `pass` and are no password.
const NO_PASSWORDS: &[&str] = &["bypass", "compass", "encompass", "overpass", "underpass", "surpass", "trespass"];

/// Services of chat: who knows the address of a hook there may write there.
const CHATS: &[&str] = &[
    "slack",
    "teams",
    "msteams",
    "discord",
    "mattermost",
    "rocketchat",
    "googlechat",
    "hangouts",
    "webex",
    "feishu",
    "lark",
    "dingtalk",
    "zulip",
    "webhook",
    "webhooks",
    "hook",
];

/// What stands before a last `key` that is the name of something: `topologyKey: kubernetes.io/hostname`, `passwordKey:
/// password`.
const NAMED_BY_KEY: &[&str] = &[
    "topology",
    "password",
    "passwd",
    "username",
    "label",
    "annotation",
    "partition",
    "sort",
    "foreign",
    "group",
    "cache",
    "object",
    "config",
    "map",
    "item",
    "lookup",
    "cert",
    "certificate",
    "toleration",
    "match",
    "existing",
    "ca",
    "index",
    "unique",
];

/// The same where the name is no variable of the environment: `uriKey: uri`, `licenseKeyKey`, `clientIdKey`.
const NAMED_BY_KEY_IN_CHARTS: &[&str] =
    &["key", "uri", "url", "dsn", "id", "by", "join", "taint", "range", "translation", "values", "kubeconfig"];

/// What stands before a last `key` that is either: the key of an entry, or a secret. Its value tells.
const MAY_NAME_A_KEY: &[&str] = &[
    "token", "tls", "file", "hash", "s3", "string", "routing", "data", "message", "license", "licence", "secret",
    "user", "selector", "bucket", "host",
];

/// Words with which a number of keys or tokens is said: `num_tokens`, `maxTokens`.
const QUANTITIES: &[&str] = &["num", "number", "max", "min", "count", "total", "limit", "per", "avg", "used", "budget"];

/// Last words after which a key only names a secret, or says something about one.
#[rustfmt::skip]
const HARMLESS_ENDS: &[&str] = &[
    "name", "names", "ref", "enabled", "size", "path", "file", "method", "strategy", "type", "mode", "host", "port",
    "class", "length", "algorithm", "annotation", "interval", "timeout", "url", "address", "mount", "count", "days",
    "user", "username", "email", "ttl", "expiry", "lifetime", "format", "policy", "provider", "realm", "scope",
    "namespace", "version", "image", "label", "prefix", "required", "rotation", "threshold", "expiration", "seconds",
    "minutes", "hours", "encryption", "command", "domain", "issuer", "endpoint", "endpoints", "server", "servers",
    "registry", "network", "cluster", "hosts", "nodes", "usage", "volumes", "through", "link", "validity", "audience",
    "bucket", "retries", "len", "rounds", "bits", "authentication", "authenticator", "encoding", "encoder", "hashing",
    "hasher", "kind", "status", "state", "reset", "requirements", "complexity", "history", "age", "manager", "storage",
    "source", "sources", "selector", "selectors", "reference", "references", "refs", "usages", "location", "directory",
    "dir", "folder", "description", "placeholder", "generator", "generation", "template", "backend", "driver", "plugin",
    "controller", "operator", "service", "resources", "schedule", "period", "duration", "delay", "refresh", "renewal",
    "sync", "validation", "verification", "exporter", "injector", "reloader", "csi", "audiences", "exchange",
    "introspection", "claim", "claims", "header", "headers", "field", "fields", "column", "store", "ring", "minlength", "mechanism", "mechanisms", "arn", "ip", "ips", "subnet", "subnets", "cidr", "cidrs",
    "dns", "zone",
    "maxage", "engine", "engines", "proxy", "algorithms", "types", "methods", "scopes", "policies",
];

/// Words that make any key harmless: everybody may see a public key.
const PUBLIC: &[&str] = &["public", "pub", "pubkey"];

/// Last words beside which these say of something else that it is public: `publicLinkSalt`.
const NEVER_PUBLIC: &[&str] = &["salt", "pepper", "password", "passphrase"];

/// Words beside a last `secret` that make it the name of an object: `serverCASecret`, `existingSecret`.
const OBJECTS: &[&str] = &["ca", "tls", "cert", "certs", "certificate", "pull", "existing"];

/// Whether a key by this name holds a secret.
pub fn is_secret_name(key: &str) -> bool {
    Name::of(key).is_secret()
}

/// A key as its words in lower case: `mintPressSSHKey` and `OPSCHAIN_PRIMARY_KEY` have three each. Every key of every
/// file is taken apart, so the words stand in one text.
pub(super) struct Name<'k> {
    key: &'k str,
    text: String,
    /// Where each word ends.
    ends: Vec<usize>,
}

impl<'k> Name<'k> {
    /// Takes a key apart.
    pub(super) fn of(key: &'k str) -> Self {
        let mut name = Self { key, text: String::with_capacity(key.len()), ends: Vec::with_capacity(4) };
        let mut before = ' ';
        let mut chars = key.chars().peekable();
        while let Some(c) = chars.next() {
            let small_after = chars.peek().is_some_and(|after| after.is_lowercase());
            if !c.is_alphanumeric() || (c.is_uppercase() && (!before.is_uppercase() || small_after)) {
                name.end();
            }
            if c.is_alphanumeric() {
                name.text.extend(c.to_lowercase());
            }
            before = c;
        }
        name.end();
        name
    }

    fn end(&mut self) {
        if self.text.len() > self.ends.last().copied().unwrap_or(0) {
            self.ends.push(self.text.len());
        }
    }

    fn words(&self) -> impl DoubleEndedIterator<Item = &str> {
        (0..self.ends.len()).map(|place| {
            let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.text[start..self.ends[place]]
        })
    }

    /// The last word: what the key is of.
    pub(super) fn last_word(&self) -> Option<&str> {
        self.words().next_back()
    }

    /// Whether what stands under it is secret.
    pub(super) fn is_secret(&self) -> bool {
        let has = |wanted: &[&str]| self.words().any(|word| wanted.contains(&word));
        let pass = |word: &str| word.ends_with("pass") && !NO_PASSWORDS.contains(&word);
        let secret = |word: &str| WORDS.contains(&word) || pass(word) || ENDS.iter().any(|end| word.ends_with(end));
        let joined = || ENDS.iter().any(|end| self.text.ends_with(end));
        // A slash is the mark of an annotation or a label.
        let is_last = |words: &[&str]| self.last_word().is_some_and(|last| words.contains(&last));
        let public = || has(PUBLIC) && !is_last(NEVER_PUBLIC);
        let plain = || self.key.contains('/') || public() || self.names_only() || self.is_quantity();
        let last = || is_last(LAST);
        KNOWN.iter().any(|known| known.eq_ignore_ascii_case(self.key))
            || self.is_hook()
            || ((self.words().any(secret) || joined() || last()) && !plain())
    }

    /// `slackUrl`, `webhook_url`, `sasUrl`: the address is the secret.
    fn is_hook(&self) -> bool {
        let is_signed = |word: &str| matches!(word, "sas" | "signed" | "presigned");
        matches!(self.last_word(), Some("url" | "uri" | "urls"))
            && self.words().any(|word| CHATS.contains(&word) || is_signed(word))
    }

    /// `passwordKey`, `existingSecretKey`: under which key of an object the secret stands.
    fn names_a_key(&self) -> bool {
        let mut back = self.words().rev();
        let in_chart = |before: &str| NAMED_BY_KEY_IN_CHARTS.contains(&before) && self.is_of_chart();
        back.next() == Some("key")
            && (back.next().is_some_and(|before| NAMED_BY_KEY.contains(&before) || in_chart(before))
                || self.words().any(|word| word == "existing"))
    }

    /// Of a name under which the key of an entry may stand as well as a secret, what it is the key of: `tokenKey:
    /// admin-token`.
    pub(super) fn may_name_a_key(&self) -> Option<&str> {
        let mut back = self.words().rev();
        let (last, before) = (back.next()?, back.next()?);
        // `clientSecretKey` is a secret more often than not.
        let is_known = match before {
            "secret" => back.next().is_some_and(|word| matches!(word, "password" | "passwd" | "username" | "user")),
            // Alertmanager's `routing_key` and its likes are secrets.
            "routing" | "license" | "licence" | "user" if self.key.contains('_') => false,
            other => MAY_NAME_A_KEY.contains(&other),
        };
        let is_cookie = last == "cookie" && matches!(before, "csrf" | "xsrf");
        (((last == "key" && is_known) || is_cookie) && self.is_of_chart()).then_some(before)
    }

    /// Whether its last word is one of the first, or any of it one of the second, however many it speaks of.
    pub(super) fn is_called(&self, last: &[&str], any: &[&str]) -> bool {
        fn one(word: &str) -> &str {
            word.strip_suffix('s').unwrap_or(word)
        }
        self.last_word().is_some_and(|word| last.contains(&word) || last.contains(&one(word)))
            || self.words().any(|word| any.contains(&one(word)))
    }

    /// No variable of the environment.
    fn is_of_chart(&self) -> bool {
        self.key.contains(|c: char| c.is_lowercase())
    }

    /// Whether it only names a secret, or the object or the key of one that holds it, or says something about one.
    pub(super) fn names_only(&self) -> bool {
        let is_id = || self.text == "keyid" && self.ends.len() == 2 || self.text.ends_with("kmskeyid");
        let is_object = || self.last_word() == Some("secret") && self.words().any(|word| OBJECTS.contains(&word));
        is_object() || is_id() || self.ends_harmless() || self.names_a_key()
    }

    fn is_quantity(&self) -> bool {
        self.words().any(|word| QUANTITIES.contains(&word))
            && self
                .last_word()
                .is_some_and(|last| matches!(last, "tokens" | "keys" | "passwords" | "secrets" | "token" | "minute"))
    }

    /// Whether its end says that it is no secret itself.
    fn ends_harmless(&self) -> bool {
        self.last_word().is_some_and(|last| HARMLESS_ENDS.contains(&last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_apart_where_its_writer_did() {
        let words = |key: &str| Name::of(key).words().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words("mintPressSSHKey"), ["mint", "press", "ssh", "key"]);
        assert_eq!(words("OPSCHAIN_PRIMARY_KEY"), ["opschain", "primary", "key"]);
        assert_eq!(words("--api-key.x2"), ["api", "key", "x2"]);
        assert_eq!(words("ÜberÄ"), ["über", "ä"]);
        assert_eq!(words("_"), Vec::<String>::new());
    }

    #[test]
    fn every_secret_key_of_opschain_is_found_by_name() {
        for key in [
            "OPSCHAIN_DETERMINISTIC_KEY",
            "OPSCHAIN_ENCRYPTION_SEED_KEY",
            "OPSCHAIN_KEY_DERIVATION_SALT",
            "OPSCHAIN_PRIMARY_KEY",
            "OPSCHAIN_TOKEN_SECRET_KEY",
            "PGPASSWORD",
            "OPSCHAIN_DOCKER_PASSWORD",
            "OPSCHAIN_DOCKER_USER",
            "OPSCHAIN_LDAP_PASSWORD",
            "unsealKey",
            "mintPressLicence",
            "mintPressTransportableKey",
            "mintPressChefClientKey",
            "vaultToken",
            "vaultPassword",
            "password",
            "promotionToken",
            "OPSCHAIN_VAULT_TOKEN",
        ] {
            assert!(is_secret_name(key), "{key}");
        }
    }

    #[test]
    fn names_of_objects_and_plain_settings_are_not_secret() {
        for key in [
            "secretName",
            "certificateSecretName",
            "externalCertificateSecretName",
            "replicas",
            "hostName",
            "OPSCHAIN_LDAP_BASE_DN",
            "OPSCHAIN_VERSION",
            "keepalives",
            "tokenizer",
            "monkey",
            "vaultAuthMethod",
            "OPSCHAIN_AUTH_STRATEGY",
            "vaultAddress",
            "imagePullSecrets",
            "secretVaultExternalPort",
            "secret.reloader.opschain.io/reload",
        ] {
            assert!(!is_secret_name(key), "{key}");
        }
    }
}
