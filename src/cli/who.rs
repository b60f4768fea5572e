//! Who asks, as records and keys name it: `user@host`.
//!
//! A variable anybody sets says nothing of a person, so the user id comes before `USER`. Within a CI system all jobs have
//! one user id; there, its own variables name who started the job, and count where the system's mark is beside them.

use std::path::Path;

use crate::read;

/// What is looked at.
struct Surroundings<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    /// A small file's text.
    file: &'a dyn Fn(&str) -> Option<String>,
    uid: u32,
    host: &'a str,
}

/// A CI system: what it sets in every job, the value of that where other systems set it, too, and where it names who
/// started the job, the most telling first.
struct CiSystem {
    mark: (&'static str, Option<&'static str>),
    people: &'static [&'static str],
}

const SYSTEMS: &[CiSystem] = &[
    system("GITHUB_ACTIONS", &["GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR"]),
    system("GITLAB_CI", &["GITLAB_USER_LOGIN", "GITLAB_USER_EMAIL"]),
    system("JENKINS_URL", &["BUILD_USER_ID", "BUILD_USER_EMAIL", "BUILD_USER"]),
    system("TF_BUILD", &["RELEASE_DEPLOYMENT_REQUESTEDFOREMAIL", "BUILD_REQUESTEDFOREMAIL", "BUILD_REQUESTEDFOR"]),
    system(
        "BUILDKITE",
        &[
            "BUILDKITE_UNBLOCKER_EMAIL",
            "BUILDKITE_BUILD_CREATOR_EMAIL",
            "BUILDKITE_UNBLOCKER",
            "BUILDKITE_BUILD_CREATOR",
        ],
    ),
    system("CIRCLECI", &["CIRCLE_USERNAME"]),
    system("DRONE", &["DRONE_BUILD_TRIGGER", "DRONE_COMMIT_AUTHOR"]),
    CiSystem { mark: ("CI", Some("woodpecker")), people: &["CI_PIPELINE_AUTHOR", "CI_COMMIT_AUTHOR"] },
    system("BITBUCKET_BUILD_NUMBER", &["BITBUCKET_STEP_TRIGGERER_UUID"]),
    system("CODEBUILD_BUILD_ID", &["CODEBUILD_INITIATOR"]),
    system("bamboo_buildKey", &["bamboo_ManualBuildTriggerReason_userName"]),
    system("GO_PIPELINE_NAME", &["GO_TRIGGER_USER"]),
    system("RD_JOB_ID", &["RD_JOB_USERNAME"]),
];

/// The most characters of a name.
const LONGEST: usize = 200;

const fn system(mark: &'static str, people: &'static [&'static str]) -> CiSystem {
    CiSystem { mark: (mark, None), people }
}

/// Who asks.
pub(super) fn who() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    named(&Surroundings {
        variable: &|name| std::env::var(name).ok(),
        file: &|path| read::text_file(Path::new(path), read::SMALL).ok(),
        uid: rustix::process::geteuid().as_raw(),
        host: &host,
    })
}

fn named(around: &Surroundings<'_>) -> String {
    let user = stated(around).or_else(|| of_ci(around)).unwrap_or_else(|| of_user_id(around));
    // `Ann <ann@example.org>` is called by the address.
    let user = match user.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
        Some((address, _)) if address.contains('@') => address.to_owned(),
        _ => user,
    };
    // It becomes the first word of a line of trusted signers. Letters of any script part people.
    let is_plain = |c: char| (c.is_ascii_graphic() && !"\",<>".contains(c)) || c.is_alphanumeric();
    let plain = |c: char| if is_plain(c) { c } else { '-' };
    let who = match user.contains('@') {
        true => user,
        false => format!("{user}@{}", if around.host.is_empty() { "localhost" } else { around.host }),
    };
    who.chars().take(LONGEST).map(plain).collect()
}

/// A variable that names somebody: not one that was left empty, was never filled in, or says that nobody is known.
fn value(around: &Surroundings<'_>, name: &str) -> Option<String> {
    let text = (around.variable)(name)?;
    let text = text.trim();
    let is_nobody = ["unknown", "null", "undefined", "none", "n/a"].contains(&text.to_ascii_lowercase().as_str());
    let is_open = text.starts_with(['$', '%']) || text.contains("{{");
    let has_letter = text.contains(|c: char| c.is_alphanumeric());
    (has_letter && !is_nobody && !is_open).then(|| text.to_owned())
}

fn stated(around: &Surroundings<'_>) -> Option<String> {
    value(around, "DR_WHO")
}

/// Who started the job that this runs in.
fn of_ci(around: &Surroundings<'_>) -> Option<String> {
    let is_here = |system: &&CiSystem| {
        let (mark, wanted) = system.mark;
        let is_no = |text: &str| ["", "false", "0"].contains(&text);
        (around.variable)(mark).is_some_and(|text| !is_no(&text) && wanted.is_none_or(|wanted| text == wanted))
    };
    let mut people = SYSTEMS.iter().filter(is_here).flat_map(|system| system.people);
    // A trigger such as `@hook` is a program.
    let person = people.find_map(|name| value(around, name).filter(|person| !person.starts_with('@')));
    let person = person.map(|person| person.trim_matches(['{', '}']).to_owned());
    person.or_else(|| of_teamcity(around))
}

/// TeamCity names the person in a file only, which another file names.
fn of_teamcity(around: &Surroundings<'_>) -> Option<String> {
    let build = (around.file)(&(around.variable)("TEAMCITY_BUILD_PROPERTIES_FILE")?)?;
    let configuration = (around.file)(&property(&build, "teamcity.configuration.properties.file")?)?;
    property(&configuration, "teamcity.build.triggeredBy.username").filter(|name| name != "n/a")
}

/// The value of a line `name=value` of Java's form.
fn property(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))?.trim();
    (!value.is_empty()).then(|| value.replace('\\', ""))
}

/// The name of the user id; where that is root's, of the one who became root. An id that this host has no name for (such
/// as in a container) may be named by a variable, as long as it is not another's name.
fn of_user_id(around: &Surroundings<'_>) -> String {
    let passwd = (around.file)("/etc/passwd").unwrap_or_default();
    let own = || user_of(around.uid, &passwd);
    let is_free = |name: &String| !passwd.lines().any(|line| line.split(':').next() == Some(name.as_str()));
    let before = || {
        let uid: u32 = (around.variable)("SUDO_UID")?.parse().ok()?;
        user_of(uid, &passwd).or_else(|| value(around, "SUDO_USER").filter(is_free))
    };
    let claimed = || ["USER", "LOGNAME"].into_iter().find_map(|name| value(around, name).filter(is_free));
    let user = if around.uid == 0 { before() } else { None };
    user.or_else(own).or_else(claimed).unwrap_or_else(|| format!("uid-{}", around.uid))
}

/// The name of the user in a file of the form of passwd(5).
fn user_of(uid: u32, passwd: &str) -> Option<String> {
    let uid = uid.to_string();
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let name = users.find_map(|fields| (fields.get(2) == Some(&uid.as_str())).then(|| fields[0].to_owned()));
    name.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\n# nobody\nops:x:1000:1000:Ops,,,:/home/ops:/bin/sh\n";

    fn named_by(uid: u32, variables: &[(&str, &str)]) -> String {
        let set: HashMap<&str, &str> = variables.iter().copied().collect();
        let file = |path: &str| match path {
            "/etc/passwd" => Some(PASSWD.to_owned()),
            "/build.properties" => Some("a=b\nteamcity.configuration.properties.file=/conf.properties\n".into()),
            "/conf.properties" => Some("teamcity.build.triggeredBy.username=tina\n".into()),
            _ => None,
        };
        let variable = |name: &str| set.get(name).map(|value| (*value).to_owned());
        named(&Surroundings { variable: &variable, file: &file, uid, host: "site-a" })
    }

    #[test]
    fn the_user_id_names_a_person_and_a_variable_does_not() {
        for (uid, variables, expected) in [
            (1000, &[("USER", "mallory"), ("LOGNAME", "mallory")][..], "ops@site-a"),
            (0, &[("USER", "mallory")], "root@site-a"),
            (0, &[("SUDO_UID", "1000"), ("SUDO_USER", "mallory")], "ops@site-a"),
            (1000, &[("SUDO_UID", "0")], "ops@site-a"),
            (4711, &[("USER", "tina")], "tina@site-a"),
            (4711, &[("USER", "root"), ("LOGNAME", "ops")], "uid-4711@site-a"),
            (4711, &[("USER", "unknown")], "uid-4711@site-a"),
            (4711, &[], "uid-4711@site-a"),
            (1000, &[("DR_WHO", "tina"), ("USER", "x")], "tina@site-a"),
            (1000, &[("DR_WHO", "tina@example.org")], "tina@example.org"),
            (1000, &[("DR_WHO", "Tina <tina@example.org>")], "tina@example.org"),
            (1000, &[("DR_WHO", "Tina, T <t>")], "Tina--T--t-@site-a"),
            (1000, &[("DR_WHO", "José Ñ\u{202e}")], "José-Ñ-@site-a"),
            (1000, &[("DR_WHO", "名前")], "名前@site-a"),
        ] {
            assert_eq!(named_by(uid, variables), expected, "{uid} {variables:?}");
        }
        for open in ["", " ", "unknown", "null", "$USERNAME", "${{ github.actor }}", "%USERNAME%", "{{ who }}", "-"] {
            assert_eq!(named_by(1000, &[("DR_WHO", open)]), "ops@site-a", "{open}");
        }
    }

    #[test]
    fn within_a_ci_system_its_own_variables_name_who_started_the_job() {
        for variables in [
            &[("GITHUB_ACTIONS", "true"), ("GITHUB_ACTOR", "tina")][..],
            &[("GITHUB_ACTIONS", "true"), ("GITHUB_ACTOR", "first"), ("GITHUB_TRIGGERING_ACTOR", "tina")],
            &[("GITLAB_CI", "true"), ("GITLAB_USER_LOGIN", "tina"), ("GITLAB_USER_EMAIL", "t@x")],
            &[("JENKINS_URL", "http://j/"), ("BUILD_USER_ID", "tina")],
            &[("TF_BUILD", "True"), ("BUILD_REQUESTEDFOR", "tina")],
            &[("BUILDKITE", "true"), ("BUILDKITE_BUILD_CREATOR", "tina")],
            &[("CIRCLECI", "true"), ("CIRCLE_USERNAME", "tina")],
            &[("DRONE", "true"), ("DRONE_BUILD_TRIGGER", "@hook"), ("DRONE_COMMIT_AUTHOR", "tina")],
            &[("DRONE", "true"), ("DRONE_BUILD_TRIGGER", "tina"), ("DRONE_COMMIT_AUTHOR", "other")],
            &[("CI", "woodpecker"), ("CI_COMMIT_AUTHOR", "tina")],
            &[("BITBUCKET_BUILD_NUMBER", "7"), ("BITBUCKET_STEP_TRIGGERER_UUID", "{tina}")],
            &[("CODEBUILD_BUILD_ID", "x:1"), ("CODEBUILD_INITIATOR", "tina")],
            &[("GO_PIPELINE_NAME", "p"), ("GO_TRIGGER_USER", "tina")],
            &[("RD_JOB_ID", "1"), ("RD_JOB_USERNAME", "tina")],
            &[("bamboo_buildKey", "P-1"), ("bamboo_ManualBuildTriggerReason_userName", "tina")],
            &[("TEAMCITY_VERSION", "2026"), ("TEAMCITY_BUILD_PROPERTIES_FILE", "/build.properties")],
        ] {
            assert_eq!(named_by(1000, variables), "tina@site-a", "{variables:?}");
            let stated = [variables, &[("DR_WHO", "carl")]].concat();
            assert_eq!(named_by(1000, &stated), "carl@site-a", "{variables:?}");
        }
        let email =
            [("TF_BUILD", "True"), ("BUILD_REQUESTEDFOREMAIL", "tina@example.org"), ("BUILD_REQUESTEDFOR", "T")];
        assert_eq!(named_by(1000, &email), "tina@example.org");
    }

    #[test]
    fn without_the_systems_own_mark_or_a_name_its_variables_count_for_nothing() {
        for variables in [
            &[("GITHUB_ACTOR", "mallory")][..],
            &[("GITHUB_ACTIONS", "false"), ("GITHUB_ACTOR", "mallory")],
            &[("GITHUB_ACTIONS", "true")],
            &[("GITLAB_CI", "true"), ("GITLAB_USER_LOGIN", "$GITLAB_USER_LOGIN")],
            &[("TF_BUILD", "True"), ("BUILD_REQUESTEDFOR", "$(Build.RequestedFor)")],
            &[("BUILD_USER_ID", "mallory")],
            &[("CI", "true"), ("CI_COMMIT_AUTHOR", "mallory")],
            &[("DRONE", "true"), ("DRONE_BUILD_TRIGGER", "@cron")],
            &[("BUILDKITE", "true"), ("BUILDKITE_BUILD_CREATOR", "")],
            &[("TEAMCITY_VERSION", "2026"), ("TEAMCITY_BUILD_PROPERTIES_FILE", "/none")],
        ] {
            assert_eq!(named_by(1000, variables), "ops@site-a", "{variables:?}");
        }
    }
}
