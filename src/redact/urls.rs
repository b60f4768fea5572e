//! What of an address is secret: a password, a user that is a token, and the path of a hook.

use super::shape::{is_key_or_token, looks_random};

/// Hosts, or the ends of them, whose addresses are secret from a certain part of the path on: who knows such an address may use it.
#[rustfmt::skip]
const HOOKS: &[(&str, &str)] = &[
    // People talking.
    ("hooks.slack.com", "/"), ("hooks.slack-gov.com", "/"), (".webhook.office.com", "/"), (".webhook.office365.com", "/"), ("outlook.office.com", "/webhook/"),
    ("outlook.office365.com", "/webhook/"), ("outlook.office365.com", "/owa/calendar/"), ("outlook.office.com", "/owa/calendar/"), ("outlook.live.com", "/owa/calendar/"),
    ("calendar.google.com", "/calendar/ical/"), ("discord.com", "/api/webhooks/"), ("discordapp.com", "/api/webhooks/"), ("media.guilded.gg", "/webhooks/"),
    ("api.telegram.org", "/bot"), ("api.telegram.org", "/file/bot"), ("chat.googleapis.com", "/v1/spaces/"), ("webexapis.com", "/v1/webhooks/incoming/"),
    ("api.ciscospark.com", "/v1/webhooks/incoming/"), ("open.feishu.cn", "/open-apis/bot/"), ("open.larksuite.com", "/open-apis/bot/"), ("oapi.dingtalk.com", "/robot/"),
    ("qyapi.weixin.qq.com", "/cgi-bin/webhook/"), ("hooks.ringcentral.com", "/webhook/"), ("hooks.glip.com", "/webhook/"), ("integrations.zoom.us", "/chat/webhooks/"),
    ("inbots.zoom.us", "/incoming/"), ("api.flock.com", "/hooks/"), ("api.pumble.com", "/workspaces/"), ("3.basecamp.com", "/"), ("3.basecampapi.com", "/"),
    ("ntfy.sh", "/"), ("api.day.app", "/"), ("sctapi.ftqq.com", "/"), ("sc.ftqq.com", "/"), ("api.pushcut.io", "/"), ("wh.jandi.com", "/connect-api/"),
    // Who calls whom.
    ("hooks.zapier.com", "/hooks/"), ("maker.ifttt.com", "/trigger/"), ("maker.ifttt.com", "/use/"), ("hook.integromat.com", "/"), (".make.com", "/"), (".make.celonis.com", "/"),
    ("webhook.site", "/"), (".tines.com", "/webhook/"), ("hooks.torq.io", "/"), (".workato.com", "/webhooks/"), ("hooks.airtable.com", "/workflows/"),
    (".app.n8n.cloud", "/webhook"), ("automation.atlassian.com", "/pro/hooks/"), ("api-private.atlassian.com", "/automation/webhooks/"), ("script.google.com", "/macros/s/"),
    ("hub.docker.com", "/api/build/"), ("api.netlify.com", "/build_hooks/"), ("api.vercel.com", "/v1/integrations/deploy/"), ("api.cloudflare.com", "/client/v4/pages/webhooks/"),
    // Who is woken.
    ("events.pagerduty.com", "/integration/"), ("alert.victorops.com", "/integrations/"), ("api.squadcast.com", "/v"), ("events.zenduty.com", "/"),
    ("www.zenduty.com", "/api/"), ("www.zenduty.com", "/integration/"), ("events.eu.zenduty.com", "/"), ("connect.signl4.com", "/webhook/"), ("signals.firehydrant.com", "/v1/"), ("api.ilert.com", "/api/"),
    ("ilertnow.com", "/api/"), ("hooks.spike.sh", "/"), ("api.spike.sh", "/v1/"), ("api.pagertree.com", "/integration/"), ("allquiet.app", "/api/webhook/"), (".xmatters.com", "/api/integration/"),
    ("webhooks.rootly.com", "/"), ("alerts.incident.io", "/"),
    // Who is told that a job ran.
    ("hc-ping.com", "/"), ("healthchecks.io", "/ping/"), ("nosnch.in", "/"), ("cronitor.link", "/"), ("cronitor.io", "/p/"), ("uptime.betterstack.com", "/api/v1/"), ("uptime.betteruptime.com", "/api/v1/"),
    ("betteruptime.com", "/api/v1/"), ("heartbeat.uptimerobot.com", "/"), ("ping.ohdear.app", "/"), ("ping.checklyhq.com", "/"), ("push.statuscake.com", "/"), ("api.honeybadger.io", "/v1/check_in/"),
    // Who keeps what is sent.
    (".loggly.com", "/inputs/"), (".loggly.com", "/bulk/"), (".sumologic.com", "/receiver/"), (".browser-intake-datadoghq.com", "/"), ("webhooks.twilio.com", "/v1/"), ("api.softlayer.com", "/soap/"),
];

/// Parts of paths behind which a word of chance lets somebody in, on whatever host.
const PLACES: &[&str] = &[
    "hooks",
    "hook",
    "webhooks",
    "webhook",
    "webhook-test",
    "webhook-waiting",
    "incoming-webhook",
    "build_hooks",
    "deploy_hooks",
    "heartbeat",
    "heartbeats",
    "ping",
    "push",
    "integrations",
    "integration",
    "private",
    "trigger",
    "triggers",
    "receiver",
    "ingest",
    "check_in",
    "check-ins",
    "invite",
    "reset",
    "magic",
    "share",
    "ical",
];

/// Parameters of addresses that are what their name says.
const PUBLIC_PARAMETERS: &[&str] = &[
    "checksum",
    "sha",
    "sha1",
    "sha256",
    "sha512",
    "digest",
    "ref",
    "commit",
    "rev",
    "version",
    "v",
    "id",
    "etag",
    "hash",
    "md5",
    "integrity",
    "uuid",
    "tenant",
    "client_id",
    "clientid",
    "state",
    "nonce",
    "image",
    "file",
    "path",
    "archive",
    "name",
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
    match of_hook(host, path) {
        Some(hook) => found.push(hook),
        None => found.extend(of_parameters(path)),
    }
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
    (user.len() >= 20 || looks_random(user) || is_key_or_token(user)).then_some(user)
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
    // Mattermost, Rocket.Chat and their likes stand on hosts of their own: a word of chance behind `hooks`.
    let bare = path.split(['?', '#']).next()?;
    let mut parts = bare.split('/').filter(|part| !part.is_empty());
    parts.find(|part| PLACES.contains(&part.to_ascii_lowercase().as_str()))?;
    let first = parts.next()?;
    let is_secret = |part: &str| {
        looks_random(part)
            || is_uuid(part)
            || (part.len() >= 24 && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    // Uptime Kuma's are short.
    let is_pushed = bare.contains("/api/push/")
        && first.len() >= 8
        && first.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && first.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    let has_secret =
        is_pushed || std::iter::once(first).chain(parts).any(|part| is_secret(part.trim_start_matches("private-")));
    let behind = first.as_ptr() as usize - path.as_ptr() as usize;
    has_secret.then(|| &path[behind..])
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Words of chance among the parameters of an address.
fn of_parameters(path: &str) -> impl Iterator<Item = &str> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    query.split(['&', ';', '#']).filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let is_public = PUBLIC_PARAMETERS.contains(&name.to_ascii_lowercase().as_str());
        (!is_public && looks_random(value)).then_some(value)
    })
}
