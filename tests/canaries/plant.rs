//! Two hundred secrets that nobody may ever see again, of every shape that a values file has them in. Planted by
//! `tests/cli/canaries` without a cluster, and by `tests/live/secrets.rs` on one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// One planted secret.
#[derive(Clone)]
pub struct Canary {
    /// Its number and shape, to name it by without showing it.
    pub label: String,
    /// The texts that must not be seen.
    pub needles: Vec<String>,
    /// How it is written in YAML, as a map of its own.
    pub yaml: String,
}

/// How many there are.
pub const COUNT: usize = 200;

type Shape = fn(&Seed) -> (Vec<String>, String);

/// Every shape, by name. A shape gives the needles and the lines of YAML, both made of the seed alone.
const SHAPES: &[(&str, Shape)] = &[
    ("word under a telling key", |s| one(s, "PASSWORD", &s.word(24))),
    ("short", |s| one(s, "TOKEN", &format!("{}#{}", s.word(2), s.tail(2)))),
    ("several lines", |s| {
        let lines = [s.word(30), s.tail(28), s.word(18)];
        (lines.to_vec(), format!("privateKey: |\n  {}\n  {}\n  {}\n", lines[0], lines[1], lines[2]))
    }),
    ("base64", |s| {
        let (text, packed) = (s.word(21), STANDARD.encode(s.word(21)));
        (vec![text, packed.clone()], format!("clientSecret: {packed}\n"))
    }),
    ("base64 of several lines", |s| {
        let packed = STANDARD.encode(format!("-----BEGIN PRIVATE KEY-----\n{}\n{}\n", s.word(48), s.tail(48)));
        let (one, two) = packed.split_at(76);
        let needles = vec![s.word(48), s.tail(48), one.to_owned(), two.to_owned()];
        (needles, format!("bundle: |\n  {one}\n  {two}\n"))
    }),
    ("in an address", |s| {
        let password = format!("{}%2F{}", s.word(9), s.tail(7));
        let needles = vec![password.clone(), format!("{}/{}", s.word(9), s.tail(7))];
        (
            needles,
            format!("database: postgres://someone:{password}@db.example.test:5432/opschain?sslmode=verify-full\n"),
        )
    }),
    ("in the query of an address", |s| {
        (vec![s.word(20)], format!("callback: \"https://hooks.example.test/x?a=1&access_token={}&b=2\"\n", s.word(20)))
    }),
    ("number", |s| (vec![s.digits(15)], format!("pin: {}\n", s.digits(15)))),
    ("number that Helm rounds", |s| (vec![s.digits(20)], format!("accessKey: {}\n", s.digits(20)))),
    ("digits in quotes", |s| one(s, "passcode", &s.digits(17))),
    ("in a list", |s| {
        let tokens = [s.word(19), s.tail(23), s.digits(14)];
        (tokens.to_vec(), format!("tokens:\n  - {}\n  - \"{}\"\n  - '{}'\n", tokens[0], tokens[1], tokens[2]))
    }),
    ("private key with its certificate", |s| {
        let key = [s.word(64), s.tail(64), format!("{}==", s.word(22))];
        let pem = format!(
            "  -----BEGIN CERTIFICATE-----\n  MIIB{0}\n  -----END CERTIFICATE-----\n  -----BEGIN EC PRIVATE KEY-----\n  {1}\n  {2}\n  {3}\n  -----END EC PRIVATE KEY-----\n",
            s.digits(40),
            key[0],
            key[1],
            key[2]
        );
        (key.to_vec(), format!("pem: |\n{pem}"))
    }),
    ("login of a registry", |s| {
        let (login, auth) = docker(s);
        (vec![s.word(18), auth], format!("pullSecret: '{login}'\n"))
    }),
    ("packed login of a registry", |s| {
        let (login, auth) = docker(s);
        let packed = STANDARD.encode(login);
        (vec![s.word(18), auth, packed.clone()], format!(".dockerconfigjson: {packed}\n"))
    }),
    ("in JSON", |s| {
        let json =
            serde_json::json!({"url": "https://x.example.test", "auth": {"clientSecret": s.word(26), "retries": 3}});
        (vec![s.word(26)], format!("options: '{json}'\n"))
    }),
    ("in YAML", |s| {
        (
            vec![s.word(22)],
            format!(
                "config: |\n  url: https://x.example.test\n  login:\n    apiKey: \"{}\"\n    retries: 3\n",
                s.word(22)
            ),
        )
    }),
    ("in a file of variables", |s| {
        (vec![s.word(22)], format!("dotenv: |\n  export MODE=fast\n  export DB_PASSWORD={}\n  LEVEL=3\n", s.word(22)))
    }),
    ("beside its name", |s| {
        (
            vec![s.word(25)],
            format!("vars:\n  - name: TZ\n    value: UTC\n  - name: PGPASSWORD\n    value: {}\n", s.word(25)),
        )
    }),
    ("with quotes", |s| {
        let text = format!("{}'\"{}", s.word(9), s.tail(9));
        (vec![text.clone()], format!("password: '{}'\n", text.replace('\'', "''")))
    }),
    ("beyond ASCII", |s| one(s, "passphrase", &format!("ünï-{}-秘密-{}", s.word(7), s.tail(7)))),
    ("signs of patterns and shells", |s| {
        let text = format!("$({})^.*[{}]+|\\b{{2}};&<>`!?", s.word(6), s.tail(6));
        (vec![text.clone()], format!("secretKey: '{text}'\n"))
    }),
    ("random under a harmless key", |s| one(s, "setting", &s.word(40))),
    ("in a header", |s| (vec![s.word(28)], format!("header: \"Authorization: Bearer {}\"\n", s.word(28)))),
    ("in arguments", |s| {
        let (one, two) = (s.word(17), s.tail(21));
        (
            vec![one.clone(), two.clone()],
            format!("args: [\"--password\", \"{one}\", \"--api-key={two}\", \"--verbose\"]\n"),
        )
    }),
    ("under a key with dots", |s| one(s, "\"site.b.example/salt.password\"", &s.word(21)).quoted_key()),
    ("with escapes", |s| {
        let text = format!("{}\t\\{}\u{1}end", s.word(9), s.tail(9));
        let written = format!("{}\\t\\\\{}\\x01end", s.word(9), s.tail(9));
        (vec![text, written.clone()], format!("seed: \"{written}\"\n"))
    }),
    ("in a connection string", |s| {
        (vec![s.word(20)], format!("dsn: Server=db.example.test;User Id=x;Password={};Encrypt=true\n", s.word(20)))
    }),
    ("with blanks", |s| one(s, "recoveryPhrase2Password", &format!("{} {} {}", s.word(6), s.tail(8), s.digits(5)))),
];

/// What a shape is made of: its own for each canary, the same at each run.
struct Seed(usize);

impl Seed {
    fn bytes(&self, salt: &str) -> Vec<u8> {
        let mut all = Vec::new();
        for round in 0..3 {
            all.extend_from_slice(&Sha256::digest(format!("canary {} {salt} {round}", self.0)));
        }
        all
    }

    fn letters(&self, salt: &str, length: usize) -> String {
        const ALL: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
        let mut text: String =
            self.bytes(salt).iter().take(length).map(|byte| char::from(ALL[usize::from(*byte) % ALL.len()])).collect();
        // A word of nothing but digits would be a number, one without any no password.
        text.replace_range(0..1, "k");
        if length > 4 {
            text.replace_range(2..4, &format!("{:02}", self.0 % 100));
        }
        text
    }

    fn word(&self, length: usize) -> String {
        self.letters("word", length)
    }

    fn tail(&self, length: usize) -> String {
        self.letters("tail", length)
    }

    fn digits(&self, length: usize) -> String {
        let digit = |byte: &u8| char::from(b'1' + byte % 9);
        self.bytes("digits").iter().take(length).map(digit).collect()
    }
}

fn one(_: &Seed, key: &str, text: &str) -> (Vec<String>, String) {
    (vec![text.to_owned()], format!("{key}: \"{text}\"\n"))
}

trait QuotedKey {
    fn quoted_key(self) -> Self;
}

impl QuotedKey for (Vec<String>, String) {
    /// A slash would make the key an annotation's.
    fn quoted_key(self) -> Self {
        (self.0, self.1.replace('/', "."))
    }
}

fn docker(s: &Seed) -> (String, String) {
    let auth = STANDARD.encode(format!("someone:{}", s.word(18)));
    let login = serde_json::json!({"auths": {"registry.example.test": {"username": "someone", "password": s.word(18), "auth": auth}}});
    (login.to_string(), auth)
}

/// All canaries; `round` gives others of the same shapes, for a second deployment.
pub fn canaries(round: usize) -> Vec<Canary> {
    (0..COUNT)
        .map(|number| {
            let (name, shape) = SHAPES[number % SHAPES.len()];
            let (needles, yaml) = shape(&Seed(number + round * COUNT));
            Canary { label: format!("canary {number} of {round} ({name})"), needles, yaml }
        })
        .collect()
}

/// All of them as one key of a values file.
pub fn block(canaries: &[Canary]) -> String {
    let mut text = "canaries:\n".to_owned();
    for (number, canary) in canaries.iter().enumerate() {
        text.push_str(&format!("  site{number}:\n"));
        for line in canary.yaml.lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}
