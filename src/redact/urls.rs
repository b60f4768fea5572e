//! What of an address is secret: a password, a user that is a token, and the path of a hook.

use super::shape::{is_key_or_token, looks_random};

/// Hosts, or the ends of them, whose addresses are secret from a certain part of the path on: who knows such an address may use it.
const HOOKS: &[(&str, &str)] = &[
    ("hooks.slack.com", "/"),
    ("hooks.slack-gov.com", "/"),
    (".webhook.office.com", "/"),
    ("outlook.office.com", "/webhook/"),
    ("outlook.office365.com", "/webhook/"),
    ("discord.com", "/api/webhooks/"),
    ("discordapp.com", "/api/webhooks/"),
    ("api.telegram.org", "/bot"),
    ("hooks.zapier.com", "/hooks/"),
    ("maker.ifttt.com", "/trigger/"),
    ("hook.eu1.make.com", "/"),
    ("hook.eu2.make.com", "/"),
    ("hook.us1.make.com", "/"),
    ("hook.us2.make.com", "/"),
    ("hook.integromat.com", "/"),
    ("webexapis.com", "/v1/webhooks/incoming/"),
    ("api.ciscospark.com", "/v1/webhooks/incoming/"),
    ("open.feishu.cn", "/open-apis/bot/"),
    ("open.larksuite.com", "/open-apis/bot/"),
    ("hc-ping.com", "/"),
    ("events.pagerduty.com", "/integration/"),
    ("alert.victorops.com", "/integrations/"),
    ("webhook.site", "/"),
    ("chat.googleapis.com", "/v1/spaces/"),
    (".tines.com", "/webhook/"),
    ("api.softlayer.com", "/soap/"),
    ("oapi.dingtalk.com", "/robot/"),
    ("qyapi.weixin.qq.com", "/cgi-bin/webhook/"),
];

/// The secret parts of the address whose authority `rest` begins with.
pub(super) fn secrets(rest: &str) -> Vec<&str> {
    let end = rest.find([' ', '\n', '\t', '"', '\'', '<', '>', '`', ',']).unwrap_or(rest.len());
    let address = &rest[..end];
    let path_at = address.find(['/', '?', '#']).unwrap_or(address.len());
    let (authority, path) = address.split_at(path_at);
    let mut found = Vec::new();
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            found.extend(of_user(user));
            host
        }
        None => authority,
    };
    found.extend(of_hook(host, path));
    found
}

/// A password, or a user that is a token: Sentry's keys, tokens for git.
fn of_user(user: &str) -> Option<&str> {
    match user.split_once(':') {
        Some((name, "" | "x-oauth-basic")) => token(name),
        Some((_, password)) => Some(password),
        None => token(user),
    }
}

fn token(user: &str) -> Option<&str> {
    (looks_random(user) || is_key_or_token(user)).then_some(user)
}

fn of_hook<'t>(host: &str, path: &'t str) -> Option<&'t str> {
    let host = host.split(':').next().unwrap_or(host).to_ascii_lowercase();
    let known = HOOKS.iter().find(|(end, begin)| {
        (host == *end || (host.ends_with(end) && (end.starts_with('.') || host.ends_with(&format!(".{end}")))))
            && path.starts_with(begin)
    });
    if known.is_some() {
        return path.get(1..).filter(|rest| rest.len() >= 8);
    }
    // Mattermost, Rocket.Chat and their likes stand on hosts of their own: a long word of chance behind `hooks`.
    let begins = ["/hooks/", "/webhooks/", "/webhook/", "/hook/"];
    let (_, behind) = begins.iter().find_map(|begin| path.split_once(begin))?;
    let last = behind.split(['?', '#']).next()?.trim_end_matches('/').rsplit('/').next()?;
    (looks_random(last) || (last.len() >= 24 && last.bytes().all(|byte| byte.is_ascii_alphanumeric())))
        .then_some(behind)
}
