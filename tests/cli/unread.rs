//! What helm deploys and `dr` does not read: it is recorded as bytes, compared as text, and everything else goes on.

use crate::records::Host;

/// Documents of each kind that docs/design/0004 lists; `tests/helm_oracle` shows that helm reads them.
fn unread(secret: &str, replicas: u8) -> Vec<String> {
    let env =
        format!("api: {{replicas: {replicas}}}\nenv:\n  OPSCHAIN_VERSION: \"2025-04-25\"\n  PGPASSWORD: {secret}\n");
    let [deep, wide] = [format!("{}{}", "[".repeat(1_600), "]".repeat(1_600)), "- ".repeat(1_600) + "x"];
    vec![
        format!("{env}deep: {deep}\n"),
        format!("{env}deep:\n  {wide}\n"),
        format!("{env}x: .inf\nx: 1\n"),
        format!("{env}x: {{~: 1}}\nx: 1\n"),
        format!("\u{feff}\u{feff}{env}"),
    ]
}

#[test]
fn what_is_not_read_is_recorded_as_bytes_and_compared_as_text() {
    let host = Host::new();
    host.file("old.yaml", "api: {replicas: 0}\nenv: {OPSCHAIN_VERSION: \"2025-04-25\", PGPASSWORD: w0rd-ab3k9}\n");
    host.ok(&["config", "record", "old.yaml", "--at", "2025-04-24"]);
    for (day, text) in unread("w0rd-zt4mq9", 3).into_iter().enumerate() {
        let at = format!("2025-05-{:02}", day + 1);
        host.file("odd.yaml", &text);
        let record = ["config", "record", "odd.yaml", "--at", &at, "--version", "2025-04-25"];
        let refused = host.fails(64, &record);
        assert!(refused.contains("add --allow not-read") && !refused.contains("w0rd"), "{refused}");
        let said = host.ok(&[&record[..], &["--allow", "not-read"]].concat());
        assert!(said.contains("does not read this file") && !said.contains("w0rd"), "{said}");
        assert_eq!(host.ok(&["config", "cat", "live"]), text);
        for side in ["old.yaml", "odd.yaml"] {
            let differs = host.run(&["config", "diff", side, "live"]);
            let said = crate::records::said(&differs);
            assert_eq!(differs.status.code(), Some(if side == "old.yaml" { 2 } else { 0 }), "{said}");
            assert!(said.contains("compared as text") && !said.contains("w0rd"), "{said}");
            assert!(side == "odd.yaml" || (said.contains("api: •") || said.contains("replicas: •")), "{said}");
        }
    }
    assert!(!host.ok(&["config", "log"]).contains("w0rd"));
    host.ok(&["config", "check"]);
    host.ok(&["config", "verify", "--decrypt"]);
}
