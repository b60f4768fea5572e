//! Command lines: programs that are given a secret, and how.

use std::collections::HashMap;
use std::sync::OnceLock;

use zeroize::Zeroizing;

use super::super::name::is_secret_name;
use super::embedded::is_reference;

/// One of these stands in every command line that holds a secret: most texts are none, and need not be taken apart.
pub(super) const SIGNS: &[&str] = &[
    " -",
    "\t-",
    "|",
    "/",
    "set ",
    "SET ",
    "put ",
    "setex ",
    "login ",
    "unseal ",
    "add",
    "change_password ",
    "authenticate_user ",
    "AUTH ",
    "auth ",
];

/// How a program is given a secret.
#[derive(Clone, Copy)]
enum Way {
    /// The word behind a flag, or the rest of the flag's own word.
    Flag(&'static str),
    /// The rest of the flag's word: alone, it asks.
    Glued(&'static str),
    /// The same two, of a user and a password with a sign between.
    Login(&'static str, char),
    /// `user/password@database`.
    Slash,
    /// So many words behind this one.
    Behind(&'static str, usize),
    /// The last word, where a flag has this letter.
    LastWith(char),
}

use Way::{Behind, Flag, Glued, LastWith, Login, Slash};

type Program = (&'static [&'static str], &'static [Way]);

#[rustfmt::skip]
const PROGRAMS: &[Program] = &[
    (&["mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlcheck", "mysqlshow", "mysqlslap", "mysqlbinlog", "mysqlpump", "mysqlsh",
       "mariadb", "mariadb-dump", "mariadb-admin", "mariadb-import", "mariadb-check", "mariadb-backup", "xtrabackup", "mydumper", "myloader",
       "7z", "7za", "7zr", "7zz", "rar", "unrar"], &[Glued("-p"), Glued("-hp")]),
    (&["sshpass", "mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport", "mongostat", "mongotop", "cqlsh", "nodetool",
       "login", "influx", "crackmapexec", "nxc", "evil-winrm", "cadaver", "arangosh"], &[Flag("-p")]),
    (&["influx"], &[Flag("-t")]),
    (&["redis-cli", "valkey-cli", "keydb-cli", "redis-benchmark"], &[Flag("-a"), Behind("AUTH", 1), Behind("auth", 1)]),
    (&["mosquitto_pub", "mosquitto_sub", "mosquitto_rr", "sqlcmd", "bcp", "isql", "tsql", "ipmitool", "zip", "unzip", "osql"], &[Flag("-P")]),
    (&["ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami", "ldapcompare", "ldapmodrdn", "ldappasswd", "ldapexop", "kadmin"], &[Flag("-w")]),
    (&["ldappasswd"], &[Flag("-s"), Flag("-a")]),
    (&["slappasswd"], &[Flag("-s")]),
    (&["curl", "http", "https", "xh", "hey", "wrk", "lwp-request", "curlie"], &[Login("-u", ':'), Login("--user", ':'), Login("--proxy-user", ':'), Login("-U", ':'), Login("-a", ':')]),
    (&["etcdctl", "kcadm.sh", "lynx"], &[Login("--user", ':'), Login("-auth", ':')]),
    (&["smbclient", "rpcclient", "smbmap", "net", "wmic", "winexe"], &[Login("-U", '%')]),
    (&["ab"], &[Login("-A", ':'), Login("-P", ':')]),
    (&["lftp"], &[Login("-u", ',')]),
    (&["snmpget", "snmpwalk", "snmpset", "snmpbulkwalk", "snmpbulkget", "snmpgetnext", "snmptrap", "snmpinform", "snmptable"], &[Flag("-c"), Flag("-A"), Flag("-X")]),
    (&["plink", "pscp", "psftp", "plink.exe", "pscp.exe"], &[Flag("-pw")]),
    (&["sqlplus", "sqlldr", "sqlcl", "expdp", "impdp", "exp", "imp", "rman", "sql"], &[Slash]),
    (&["rabbitmqctl"], &[Behind("add_user", 2), Behind("change_password", 2), Behind("authenticate_user", 2)]),
    (&["vault", "bao"], &[Behind("login", 1), Behind("unseal", 1)]),
    (&["mc", "mcli"], &[Behind("set", 4), Behind("add", 4)]),
    (&["htpasswd"], &[LastWith('b')]),
    (&["xfreerdp", "xfreerdp3", "wfreerdp", "mstsc"], &[Glued("/p:")]),
    (&["openssl"], &[Flag("-k"), Flag("-K")]),
    (&["step"], &[Flag("--password")]),
];

/// The places of the words that are or hold a secret, and the secret. `before` are the words of a command whose arguments
/// `words` are.
pub(in super::super) fn secret_words(before: &[&str], words: &[&str]) -> Vec<(usize, Zeroizing<String>)> {
    let mut found: Vec<(usize, Zeroizing<String>)> = Vec::new();
    let mut push = |place: usize, secret: &str| {
        if !secret.is_empty() && !is_reference(secret) && !secret.contains('\n') {
            found.push((place, Zeroizing::new(secret.to_owned())));
        }
    };
    let mut ways: Vec<Way> = before.iter().flat_map(|word| ways_of(word)).collect();
    let is_creating = before.iter().chain(words).any(|word| *word == "secret");
    let has = |wanted: &str| words.contains(&wanted);
    let reads_input = INPUTS.iter().any(|(program, flag)| has(flag) && (program.is_empty() || has(program)));
    for (place, word) in words.iter().enumerate() {
        let next = || words.get(place + 1).copied().filter(|next| !next.starts_with('-'));
        if is_end(word) {
            ways.clear();
        }
        ways.extend(ways_of(word));
        for way in &ways {
            match way {
                Flag(flag) if word == flag => push_word(&mut push, place + 1, next()),
                // What is glued to a flag of one letter may be another flag's name.
                Flag(flag) if flag.len() == 2 && !word.starts_with("--") => {
                    if let Some(rest) = word.strip_prefix(flag).filter(|rest| is_odd(rest)) {
                        push(place, rest.trim_start_matches('='));
                    }
                }
                Glued(flag) => push(place, word.strip_prefix(flag).unwrap_or_default()),
                Login(flag, sign) => {
                    let (at, login) = match word.strip_prefix(flag) {
                        Some("") => (place + 1, next().unwrap_or_default()),
                        Some(rest) if flag.len() == 2 || rest.starts_with('=') => (place, rest.trim_start_matches('=')),
                        // Several flags of one letter: `-sfu`.
                        None if flag.len() == 2 && is_bundle(word, flag) => (place + 1, next().unwrap_or_default()),
                        _ => continue,
                    };
                    push(at, login.split_once(*sign).map_or("", |(_, password)| password));
                }
                Slash if place > 0 && !word.starts_with(['-', '/', '@', '.']) => {
                    let login = word.split('@').next().unwrap_or_default();
                    if word.contains('@') || words.len() - place == 1 {
                        push(place, login.split_once('/').map_or("", |(_, password)| password));
                    }
                }
                Behind(begin, count) if word == begin => {
                    let at = place + count;
                    push_word(
                        &mut push,
                        at,
                        words.get(at).copied().filter(|word| !word.starts_with('-') && !word.contains('=')),
                    );
                }
                LastWith(letter) if place + 1 == words.len() => {
                    let has = |word: &&str| word.starts_with('-') && !word.starts_with("--") && word.contains(*letter);
                    if words.iter().any(has) {
                        push(place, word);
                    }
                }
                _ => {}
            }
        }
        if let Some(password) =
            word.strip_prefix("pass:").filter(|_| place > 0 && words[place - 1].starts_with("-pass"))
        {
            push(place, password);
        }
        if is_flag_for_secret(word) && next().is_some_and(|next| !CONNECTIVES.contains(&next)) {
            push_word(&mut push, place + 1, next());
        }
        let sets = ["set", "put", "setex"].iter().any(|set| word.eq_ignore_ascii_case(set))
            && words.get(place + 1).and_then(|name| name.rsplit([':', '/']).next()).is_some_and(is_secret_name);
        let is_last = || words.get(place + 3).is_none_or(|behind| behind.starts_with('-') || is_end(behind));
        if sets && !words[place + 1].starts_with('-') && is_last() {
            push_word(&mut push, place + 2, words.get(place + 2).copied());
        }
        let literal = word.strip_prefix("--from-literal").filter(|_| is_creating).map(|rest| match rest {
            "" => (place + 1, next().unwrap_or_default()),
            rest => (place, rest.trim_start_matches('=')),
        });
        if let Some((place, pair)) = literal {
            push(place, pair.split_once('=').map_or("", |(_, value)| value));
        }
        if reads_input && matches!(*word, "echo" | "printf") {
            let end = words[place + 1..].iter().position(|word| is_end(word)).filter(|at| words[place + 1 + at] == "|");
            let said = words[place + 1..].iter().take(end.unwrap_or(0)).enumerate();
            for (at, secret) in said.filter(|(_, word)| !word.starts_with(['-', '%'])) {
                push(place + 1 + at, secret.rsplit_once(':').map_or(secret, |(_, password)| password));
            }
        }
    }
    found
}

fn push_word(push: &mut impl FnMut(usize, &str), place: usize, word: Option<&str>) {
    push(place, word.unwrap_or_default());
}

/// What has a program (or any) read a secret from its input.
const INPUTS: &[(&str, &str)] = &[
    ("", "--password-stdin"),
    ("", "--pass-stdin"),
    ("", "--token-stdin"),
    ("", "--passphrase-fd"),
    ("", "chpasswd"),
    ("sudo", "-S"),
    ("passwd", "--stdin"),
];

/// Whether a word parts two commands.
fn is_end(word: &str) -> bool {
    matches!(word, "|" | ";" | "&")
}

/// What stands behind a flag in a sentence about it.
const CONNECTIVES: &[&str] = &[
    "to", "for", "is", "and", "or", "in", "of", "with", "if", "when", "flag", "option", "must", "should", "as", "from",
    "instead", "string", "the", "a", "an", "are", "can", "will", "was", "not", "on", "by", "may", "|", "\\", "basic",
    "none",
];

fn ways_of(word: &str) -> impl Iterator<Item = Way> {
    static BY_NAME: OnceLock<HashMap<&str, Vec<Way>>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        let mut by_name: HashMap<&str, Vec<Way>> = HashMap::new();
        for (names, ways) in PROGRAMS {
            names.iter().for_each(|name| by_name.entry(name).or_default().extend(*ways));
        }
        by_name
    });
    by_name.get(word.rsplit('/').next().unwrap_or(word)).into_iter().flatten().copied()
}

/// Whether a word is several flags of one letter, the last of which is this one.
fn is_bundle(word: &str, flag: &str) -> bool {
    let is_short = word.len() <= 6 && word.starts_with('-') && !word.starts_with("--");
    is_short && word.ends_with(&flag[1..]) && word[1..].bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Not the rest of a flag's name: `-psecret1`, and not `-path`.
fn is_odd(rest: &str) -> bool {
    rest.len() >= 4 && (rest.starts_with('=') || rest.bytes().any(|byte| !byte.is_ascii_lowercase() && byte != b'-'))
}

/// `--password`, `-storepass`, `-token`: before the secret itself.
pub(in super::super) fn is_flag_for_secret(text: &str) -> bool {
    match text.strip_prefix("--") {
        Some(name) => is_secret_name(name),
        None => text.strip_prefix('-').is_some_and(|name| name.len() > 4 && is_secret_name(name)),
    }
}

/// The words of each command in a text, as a shell would part them. A separator is a word of its own.
pub(super) fn commands(text: &str) -> Vec<Vec<Zeroizing<String>>> {
    let joined = text.replace("\\\n", " ").replace("\\\r\n", " ");
    joined.lines().map(words).filter(|words| words.len() > 1).collect()
}

fn words(line: &str) -> Vec<Zeroizing<String>> {
    let mut words = Vec::new();
    let mut word = Zeroizing::new(String::new());
    let mut is_word = false;
    let mut chars = line.chars().peekable();
    let mut quote: Option<char> = None;
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => word.extend(chars.next()),
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => (quote, is_word) = (Some(c), true),
            (' ' | '\t' | ';' | '|' | '&' | '(' | ')' | '`', None) => {
                if is_word || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
                if matches!(c, ';' | '|' | '&') {
                    words.push(Zeroizing::new(c.to_string()));
                }
            }
            (c, None) => word.push(c),
        }
    }
    if is_word || !word.is_empty() {
        words.push(word);
    }
    words
}
