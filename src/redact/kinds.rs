//! The kinds of secrets that public scanners look for, each by an example made here: all are masked, and what only
//! looks alike is not.

use super::secret::{is_secret, secrets};
use super::{MASK, Secrets};
use crate::yaml::{Path, Tree, Value};

/// Letters and digits as chance would have them, the same every time.
fn fill(alphabet: &str, length: usize) -> String {
    let alphabet = alphabet.as_bytes();
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        char::from(alphabet[(state >> 16) as usize % alphabet.len()])
    };
    (0..length).map(|_| next()).collect()
}

fn word(length: usize) -> String {
    fill("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", length)
}

fn hex(length: usize) -> String {
    fill("0123456789abcdef", length)
}

const SMALL: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

fn small(length: usize) -> String {
    fill(SMALL, length)
}

fn uuid() -> String {
    format!("{}-{}-4{}-a{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12))
}

fn capital(length: usize) -> String {
    fill("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length)
}

/// Tokens: what they are of, and one.
fn tokens() -> Vec<(&'static str, String)> {
    vec![
        ("AWS access key", format!("AKIA{}", capital(16))),
        ("AWS temporary key", format!("ASIA{}", capital(16))),
        ("Google API key", format!("AIza{}", word(35))),
        ("Google OAuth secret", format!("GOCSPX-{}", word(28))),
        ("Google OAuth token", format!("ya29.{}", word(60))),
        ("DigitalOcean", format!("dop_v1_{}", hex(64))),
        ("Databricks", format!("dapi{}", hex(32))),
        ("Tailscale", format!("tskey-auth-{}-{}", word(12), word(30))),
        ("OpenShift", format!("sha256~{}", word(43))),
        ("Dynatrace", format!("dt0c01.{}.{}", capital(24), capital(64))),
        ("Dynatrace platform", format!("dt0s01.{}.{}", capital(24), capital(64))),
        ("Cloudflare origin", format!("v1.0-{}-{}", hex(24), hex(146))),
        ("Infisical", format!("st.{}.{}.{}", hex(24), hex(32), hex(32))),
        ("Twitch", format!("oauth:{}", fill(SMALL, 30))),
        ("kubeadm", format!("{}.{}", fill(SMALL, 6), fill(SMALL, 16))),
        ("Vault service, before 1.10", format!("s.{}", word(24))),
        ("GitHub personal", format!("ghp_{}", word(36))),
        ("GitHub OAuth", format!("gho_{}", word(36))),
        ("GitHub user", format!("ghu_{}", word(36))),
        ("GitHub server", format!("ghs_{}", word(36))),
        ("GitHub refresh", format!("ghr_{}", word(36))),
        ("GitHub fine-grained", format!("github_pat_{}_{}", word(22), word(59))),
        ("GitLab personal", format!("glpat-{}", word(20))),
        ("GitLab deploy", format!("gldt-{}", word(20))),
        ("GitLab runner", format!("glrt-{}", word(20))),
        ("GitLab trigger", format!("glptt-{}", hex(40))),
        ("Atlassian", format!("ATATT3{}", word(180))),
        ("npm", format!("npm_{}", word(36))),
        ("PyPI", format!("pypi-AgEIcHlwaS5vcmc{}", word(60))),
        ("RubyGems", format!("rubygems_{}", hex(48))),
        ("Docker Hub", format!("dckr_pat_{}", word(27))),
        ("Artifactory", format!("AKCp{}", word(69))),
        ("SonarQube", format!("squ_{}", hex(40))),
        ("Vault service", format!("hvs.{}", word(90))),
        ("Doppler", format!("dp.pt.{}", word(43))),
        ("Terraform Cloud", format!("{}.atlasv1.{}", word(14), word(67))),
        ("Postman", format!("PMAK-{}-{}", hex(24), hex(34))),
        ("Slack bot", format!("xoxb-{}-{}-{}", 123_456_789_012_u64, 123_456_789_012_u64, word(24))),
        ("Slack app", format!("xapp-1-A{}-{}-{}", capital(10), 123_456_789_012_u64, hex(64))),
        ("Slack user", format!("xoxp-{}-{}", 123_456_789_012_u64, hex(32))),
        ("Telegram bot", format!("123456789:AA{}", word(33))),
        ("Discord bot", format!("M{}.{}.{}", word(23), word(6), word(27))),
        ("Linear", format!("lin_api_{}", word(40))),
        ("Notion", format!("ntn_{}", word(46))),
        ("Figma", format!("figd_{}", word(40))),
        ("Airtable", format!("pat{}.{}", word(14), hex(64))),
        ("Stripe live", format!("sk_live_{}", word(24))),
        ("Stripe test", format!("sk_test_{}", word(24))),
        ("Stripe restricted", format!("rk_live_{}", word(24))),
        ("Stripe webhook", format!("whsec_{}", word(32))),
        ("Square", format!("sq0atp-{}", word(22))),
        ("Shopify", format!("shpat_{}", hex(32))),
        ("SendGrid", format!("SG.{}.{}", word(22), word(43))),
        ("Mailgun", format!("key-{}", hex(32))),
        ("Mailchimp", format!("{}-us12", hex(32))),
        ("Brevo", format!("xkeysib-{}-{}", hex(64), word(16))),
        ("Twilio key", format!("SK{}", hex(32))),
        ("Twilio account", format!("AC{}", hex(32))),
        ("New Relic user", format!("NRAK-{}", capital(27))),
        ("New Relic licence", format!("{}NRAL", hex(36))),
        ("Datadog key", hex(32)),
        ("Datadog application key", hex(40)),
        ("Grafana", format!("glsa_{}_{}", word(32), hex(8))),
        ("Sentry", format!("sntrys_{}", word(80))),
        ("OpenAI", format!("sk-proj-{}", word(48))),
        ("Anthropic", format!("sk-ant-api03-{}", word(90))),
        ("Hugging Face", format!("hf_{}", word(34))),
        ("Azure client secret", format!("{}8Q~{}", word(3), word(34))),
        ("Azure storage key", format!("{}==", word(86))),
        ("JSON web token", format!("eyJ{}.eyJ{}.{}", word(30), word(60), word(43))),
        ("Kubernetes service account", format!("eyJ{}.eyJ{}.{}", word(80), word(300), word(340))),
        ("age", format!("AGE-SECRET-KEY-1{}", capital(58))),
    ]
}

/// Tokens that only scanners with hundreds of rules know; the second half of the table.
fn rarer_tokens() -> Vec<(&'static str, String)> {
    vec![
        ("Adafruit", format!("aio_{}", word(28))),
        ("Adobe client secret", format!("p8e-{}", small(32))),
        ("1Password secret key", format!("A3-{}", capital(36))),
        ("Airtable OAuth", format!("oa0Abcdefgh.v1.{}.{}", word(20), hex(64))),
        ("Amazon AppSync", format!("da2-{}", small(26))),
        ("Amazon Bedrock, long", format!("ABSK{}", word(120))),
        ("Amazon Bedrock, short", format!("bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t{}", word(40))),
        ("Apify", format!("apify_api_{}", word(36))),
        ("Artifactory reference", format!("cmVmd{}", word(59))),
        ("Atlassian Data Center", format!("BBDC-{}", word(44))),
        ("Authress", format!("sc_abcdefgh1.k2xy.acc_9f8a7b6c5d4e.{}", word(40))),
        ("Azure refresh token", format!("0.A{}", word(80))),
        ("Bannerbear", format!("bb_pr_{}", hex(30))),
        ("Braintree", format!("access_token$production${}${}", small(16), hex(32))),
        ("Checkout.com", format!("sk_{}", uuid())),
        ("ClickHouse Cloud", format!("4b1d{}", word(38))),
        ("ClickUp", format!("pk_4324998_{}", capital(32))),
        ("Close", format!("api_{}", word(45))),
        ("Cloudflare user token", format!("cfut_{}", word(48))),
        ("Cloudflare account token", format!("cfat_{}", word(48))),
        ("Cloudflare global key", format!("cfk_{}", word(48))),
        ("Contentful", format!("CFPAT-{}", word(43))),
        ("Defined Networking", format!("dnkey-{}-{}", small(26), small(52))),
        ("Deno Deploy", format!("ddp_{}", word(36))),
        ("Dropbox, short-lived", format!("sl.{}", word(135))),
        ("Dropbox, scoped", format!("sl.u.{}", word(140))),
        ("ElevenLabs", format!("sk_{}", hex(48))),
        ("Endor Labs", format!("endr+{}", word(16))),
        ("Facebook app", format!("185816207625671|{}", word(27))),
        ("Facebook page", format!("EAAM{}", word(110))),
        ("Figma, plan", format!("figp_{}", word(44))),
        ("Fleetbase", format!("flb_live_{}", word(20))),
        ("Flutterwave", format!("FLWSECK_TEST-{}-X", hex(32))),
        ("Flutterwave encryption", format!("FLWSECK_TEST{}", hex(12))),
        ("Flexport", format!("shltm_{}", word(40))),
        ("Fly.io", format!("fm2_{}", word(120))),
        ("Frame.io", format!("fio-u-{}", word(64))),
        ("FullStory", format!("na1.{}", word(100))),
        ("GoCardless", format!("live_{}", word(40))),
        ("Harness", format!("pat.{}.{}.{}", word(22), word(24), word(20))),
        ("HubSpot", format!("pat-na1-{}", uuid())),
        ("Infracost", format!("ico-{}", word(32))),
        ("Intra 42", format!("s-s4t2ud-{}", hex(64))),
        ("JSON web token, packed again", format!("ZXlK{}", word(90))),
        ("JSON web token, spaced", format!("ewogICJhbGciOiAi{}.eyJ{}.{}", word(20), word(40), word(43))),
        ("JSON web token, unsigned", format!("eyJhbGciOiJub25lIn0.eyJ{}", word(60))),
        ("Klaviyo", format!("pk_{}", hex(34))),
        ("Langfuse", format!("sk-lf-{}", uuid())),
        ("LangSmith", format!("lsv2_pt_{}_{}", hex(32), hex(10))),
        ("Laravel", format!("67|{}", word(40))),
        ("LaunchDarkly", format!("sdk-{}", uuid())),
        ("Lob", format!("test_{}", hex(35))),
        ("Mailgun, alphanumeric", format!("key-{}", small(32))),
        ("Mapbox", format!("sk.{}.{}", small(60), small(22))),
        ("MaxMind", format!("Ab3dE6_{}_mmk", word(29))),
        ("New Relic browser", format!("NRBR-{}", hex(19))),
        ("New Relic query", format!("NRIQ-{}", word(25))),
        ("New Relic mobile", format!("AA{}-NRMA", hex(40))),
        ("Nightfall", format!("NF-{}", word(32))),
        ("NVIDIA", format!("nvapi-{}", word(64))),
        ("Octopus Deploy", format!("API-{}", capital(26))),
        ("Paystack", format!("sk_live_{}", word(40))),
        ("pganalyze", format!("pgar_{}", word(27))),
        ("Pinecone", format!("pcsk_Ab3d5_{}", word(63))),
        ("Plaid", format!("access-development-{}", uuid())),
        ("Portainer", format!("ptr_{}", word(44))),
        ("PostHog", format!("phx_{}", word(43))),
        ("PubNub", format!("pub-c-{}", uuid())),
        ("Pulumi", format!("pul-{}", small(40))),
        ("Ramp", format!("ramp_sec_{}", word(48))),
        ("Razorpay", format!("rzp_live_{}", word(14))),
        ("Robinhood", format!("rh-api-{}", uuid())),
        ("Rootly", format!("rootly_{}", hex(64))),
        ("Salad Cloud", format!("salad_cloud_ab1_{}", word(40))),
        ("Salesforce client", format!("3MVG9{}", word(80))),
        ("Salesforce refresh", format!("5AEP861{}", word(80))),
        ("Scalingo", format!("tk-us-{}", word(48))),
        ("SettleMint", format!("sm_aat_{}", word(16))),
        ("SonarQube Cloud", format!("sqco_{}", word(59))),
        ("Sourcegraph Cody", format!("slk_{}", hex(64))),
        ("SpectralOps", format!("spu-{}", small(32))),
        ("Square, new", format!("EAAA{}", word(60))),
        ("Square, production", format!("sq0idp-{}", word(22))),
        ("Stripe intent", format!("pi_{}_secret_{}", word(24), word(25))),
        ("Supabase", format!("sbp_{}", small(40))),
        ("Teamwork", format!("tkn.v1_{}", word(70))),
        ("Telnyx", format!("KEY0{}", word(55))),
        ("TruffleHog", format!("thog-secret-{}", hex(32))),
        ("Twist", format!("oauth2:{}", hex(40))),
        ("Twitter bearer", format!("AAAAAAAAAAAAAAAAAAAAAMLheAAAAAAA0%2B{}", word(60))),
        ("Ubidots", format!("BBFF-{}", word(30))),
        ("Voiceflow", format!("VF.DM.{}.{}", hex(24), word(16))),
        ("Yandex IAM", format!("t1.{}.{}", word(30), word(86))),
        ("Yandex static key", format!("YC{}", word(38))),
        ("Zoho", format!("1000.{}.{}", hex(32), hex(32))),
    ]
}

/// Texts that hold a secret, marked by `<` and `>`.
fn texts() -> Vec<String> {
    let (h32, w24, w43) = (hex(32), word(24), word(43));
    vec![
        format!("https://hooks.slack.com/<services/T0/B0/{w24}>"),
        format!("https://hooks.slack.com/<workflows/T0/A0/1/{w24}>"),
        format!("https://acme.webhook.office.com/<webhookb2/{h32}/IncomingWebhook/{h32}/x>"),
        format!("https://discord.com/<api/webhooks/12345/{w43}>"),
        format!("https://discordapp.com/<api/webhooks/12345/{w43}>"),
        format!("https://chat.acme.com/hooks/<{}>", fill("abcdefghijkmnopqrstuwxyz13456789", 26)),
        format!("https://api.telegram.org/<bot12345678:AA{}/sendMessage>", word(33)),
        format!("https://chat.googleapis.com/<v1/spaces/A/messages?key={w24}&token={w43}>"),
        format!("https://<{h32}>@o1.ingest.sentry.io/42"),
        format!("https://<{w24}>:x-oauth-basic@github.com/a/b.git"),
        format!("https://account.blob.core.windows.net/c?sv=2024-01-01&sig=<{w43}%3D>"),
        format!("https://b.s3.amazonaws.com/k?X-Amz-Expires=60&X-Amz-Signature=<{}>", hex(64)),
        "postgres://me:<hunter22>@db/x".to_owned(),
        "mongodb+srv://me:<hunter22>@a.b/x".to_owned(),
        "redis://:<hunter22>@h:6379/0".to_owned(),
        "jdbc:postgresql://h/d?user=u&password=<hunter22>".to_owned(),
        "jdbc:sqlserver://h:1433;databaseName=d;password=<hunter22>;".to_owned(),
        "jdbc:oracle:thin:scott/<hunter22>@//h:1521/x".to_owned(),
        "Server=h;Uid=u;Pwd=<hunter22>;".to_owned(),
        format!("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=<{}==>", word(86)),
        format!("Endpoint=sb://a.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=<{w43}=>"),
        "host=db user=u password=<hunter22>".to_owned(),
        "curl -u me:<hunter22> https://h".to_owned(),
        "db:5432:*:me:<hunter22>".to_owned(),
        format!("<SCRAM-SHA-256$4096:{}==${w43}=:{w43}=>", word(22)),
        "requirepass <hunter22>\nport 1".to_owned(),
        format!("Authorization: Bearer <{w24}>"),
        "curl -H 'X-Api-Key: <hunter22>' https://h".to_owned(),
        "Cookie: <sid=hunter22; theme=dark>".to_owned(),
        "h.redis.cache.windows.net:6380,password=<hunter22>,ssl=True".to_owned(),
        format!("Endpoint=https://a.azconfig.io;Id=b;Secret=<{w24}>"),
        format!("//npm.example.com/:_authToken=<{}>", uuid()),
        format!("https://a.tines.com/<webhook/{h32}/{h32}>"),
        format!("https://oapi.dingtalk.com/<robot/send?access_token={h32}{h32}>"),
        format!("https://a.1.environment.api.powerplatform.com/w/triggers/manual/paths/invoke?sp=x&sig=<{w43}>"),
        format!("https://api.softlayer.com/<soap/v3/{h32}{h32}>"),
        "ftp://me:<hunter22>@h/x".to_owned(),
        "amqps://me:<hunter22>@h:5671/x".to_owned(),
        "cloudinary://123456:<hunter22>@cloud".to_owned(),
        format!("use ghp_{w24}{w24} there").replace("ghp_", "<ghp_").replace(" there", "> there"),
    ]
}

fn shape_of(text: &str) -> bool {
    is_secret(&Path::of(&["plain"]), None, &Value::String(text.into()))
}

#[test]
fn a_token_of_each_kind_is_masked_under_any_name_and_within_a_text() {
    for (kind, token) in tokens() {
        assert!(shape_of(&token), "{kind}: {token}");
        if token.len() == token.trim_start_matches(|c: char| c.is_ascii_hexdigit()).len() {
            let said = Secrets::default().scrub(&format!("error: {token} is refused")).into_owned();
            assert!(kind.starts_with("Azure storage") || said == format!("error: {MASK} is refused"), "{kind}: {said}");
        }
    }
}

#[test]
fn a_token_of_a_rarer_kind_is_masked_under_any_name_and_within_every_text() {
    for (kind, token) in rarer_tokens() {
        assert!(shape_of(&token), "{kind}: {token}");
        for (before, behind) in [("error: ", " is refused"), ("x=\"", "\"\n"), ("- ", ""), ("(", ")")] {
            let said = Secrets::default().scrub(&format!("{before}{token}{behind}")).into_owned();
            assert_eq!(said, format!("{before}{MASK}{behind}"), "{kind}: {token}");
            assert!(shape_of(&format!("{before}{token}{behind}")), "{kind}");
        }
    }
}

#[test]
fn a_text_that_holds_a_secret_is_masked_and_its_secret_known_elsewhere() {
    for marked in texts() {
        let text = marked.replace(['<', '>'], "");
        let secret = &marked[marked.find('<').unwrap() + 1..marked.find('>').unwrap()];
        assert!(shape_of(&text), "{text}");
        let secrets = Secrets::default();
        secrets.register(text.as_bytes());
        let said = secrets.scrub(&format!("failed at [{secret}]")).into_owned();
        assert!(!said.contains(&secret[secret.len() / 2..]), "{text}: {said}");
    }
}

#[test]
fn secrets_in_xml_are_found() {
    for (text, secret) in [
        ("<server><id>a</id><password>hunter22</password></server>", "hunter22"),
        ("<add key=\"ClearTextPassword\" value=\"hunter22\" />", "hunter22"),
    ] {
        assert!(shape_of(text), "{text}");
        let secrets = Secrets::default();
        secrets.register(text.as_bytes());
        assert!(!secrets.scrub(&format!("failed at [{secret}]")).contains(secret), "{text}");
    }
    for harmless in ["<server><id>a</id><port>80</port></server>", "<add name=\"Port\" value=\"80\" />", "a < b </ c"] {
        assert!(!shape_of(harmless), "{harmless}");
    }
}

#[test]
fn names_that_hold_secrets_are_known_and_names_alike_are_not() {
    for key in [
        "bindPw",
        "rootpw",
        "OLC_ROOT_PW",
        "olcRootPW",
        "ldappw",
        "community",
        "snmpCommunity",
        "rocommunity",
        "hmac",
        "hmacKey",
        "HMAC_SECRET",
        "psk",
        "wifiPSK",
        "sentryDsn",
        "SENTRY_DSN",
        "slackWebhook",
        "slack_api_url",
        "webhookUrl",
        "WEBHOOK_URL",
        "discordWebhookUrl",
        "teams_webhook_url",
        "sig",
        "signature",
        "apiKeys",
        "jwtSecret",
        "sharedAccessKey",
        "pgpass",
        "secretKey",
        "accessKeyId",
        "totp",
        "refreshTok",
        "passwordPepper",
        "clientAssertion",
        "authkey",
        "authpass",
        "storepass",
        "p12pass",
        "userpass",
        "cred",
        "dbCreds",
        "kek",
        "DEK",
        "SECRETID",
        "id_rsa",
        "id_ed25519",
        "sa_json",
        "gcpServiceAccountJson",
        "discordHook",
        "sasUrl",
        "connectionString",
        "DB_CONNECTION_STRING",
        "connStr",
        "routingKey",
        "kennwort",
        "dbPasswort",
        "senha",
        "contrasena",
        "motdepasse",
        "mot_de_passe",
    ] {
        assert!(super::is_secret_name(key), "{key}");
    }
    for key in [
        "topologyKey",
        "existingSecretKey",
        "existingSecretPasswordKey",
        "passwordKey",
        "adminPasswordKey",
        "secretName",
        "num_tokens",
        "maxTokens",
        "max_tokens",
        "tokensPerMinute",
        "usernameKey",
        "labelKey",
        "sortKey",
        "hmacAlgorithm",
        "signatureAlgorithm",
        "webhookTimeout",
        "communityEdition",
        "publicKey",
        "secretKeyRef",
        "dsnName",
        "passwordPolicy",
        "jwtExpiry",
        "replicas",
        "hookImage",
        "teamsEnabled",
        "noProxyBypass",
        "compass",
        "incredible",
        "id_rsa.pub",
        "hook",
        "preStopHook",
        "mechanism",
        "secretThreshold",
        "tokenExpirationSeconds",
        "tokenValidity",
        "tokenAudience",
        "tokenBucket",
        "passwordRetries",
        "pwLen",
        "saltRounds",
        "sshKeyBits",
    ] {
        assert!(!super::is_secret_name(key), "{key}");
    }
}

#[test]
fn what_points_at_labels_and_keys_is_shown() {
    let yaml = "affinity:\n  podAntiAffinity:\n    preferred:\n    - weight: 1\n      podAffinityTerm:\n        topologyKey: kubernetes.io/hostname\n        labelSelector:\n          matchExpressions:\n          - {key: app.kubernetes.io/name, operator: In, values: [a]}\ntolerations:\n- {key: dedicated, effect: NoSchedule}\n- {key: dedicated, operator: Equal, value: gpu, effect: NoSchedule}\nauth: {existingSecret: a, existingSecretKey: b, passwordKey: password}\nnum_tokens: 512\n";
    let tree = Tree::parse(yaml.as_bytes()).unwrap();
    let found: Vec<String> = secrets(&tree).iter().map(|(path, ..)| path.to_string()).collect();
    assert_eq!(found, Vec::<String>::new());
    for harmless in [
        "https://opschain.example.com/api/webhook",
        "https://hooks.slack.com/",
        "https://api.telegram.org",
        "https://github.com/acme/webhooks/tree/main",
        "https://user@host/path",
        "ssh://git@github.com/a/b.git",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "SK",
        "key-value-store-of-the-service",
        "sk-learn",
        "hf_transfer",
        "quay.io/acme/app@sha256:abc",
        "task-management-service-with-long-name",
        "12:30:45",
        "10.0.0.1:80:x",
        "kubectl -u root",
        "a.b.c:80",
        "SCRAM-SHA-256",
        "SCRAM-SHA-512",
        "s.example.opschain.internal",
        "s.abcdefghijklmnopqrstuvwx",
        "values.opschainsettings",
        "203015.1234567890123456",
        "st.petersburg.example.com",
        "oauth:authorization_code",
        "v1.0-beta",
        "api_gateway_2_of_eu_central_1_for_customers",
        "pk.cluster-01.region-2.internal.example.com",
        "live_update_of_2_clusters_and_more_in_2026_10",
        "KEYCLOAK_ADMINISTRATION_CONSOLE_V2_URL_OF_THE_SECOND_REALM_IN_USE",
        "registry.example.com/opschain/api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "9f86d081884c7d659a2feaa0c55ad015.gr7.eu-central-1.eks.amazonaws.com",
        "sk_learn_2_of_the_many_kinds_of_names_2",
        "Cookie: ",
        "a|b|c 1|2",
    ] {
        assert!(!shape_of(harmless), "{harmless}");
    }
}
