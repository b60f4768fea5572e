//! What others have written steers no terminal, though it is passed on as it comes.

use std::process::Command;

use crate::vault::Host;

const TITLE: &str = "\u{1b}]0;pwn\u{7}";

#[test]
fn values_that_are_no_text_are_spelt_out_on_a_terminal_and_bytes_in_a_pipe() {
    let host = Host::new();
    let bytes = [b"a: \xff", TITLE.as_bytes(), b"\n"].concat();
    std::fs::write(host.path("odd.yaml"), &bytes).unwrap();
    let record =
        ["config", "record", "odd.yaml", "--at", "2026-08-20", "--version", "2026-08-20", "--allow", "not-read"];
    let said = host.run(&record);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let piped = host.command(&["config", "cat", "2026-08-20"]).output().unwrap();
    assert_eq!(piped.stdout, bytes, "{}", String::from_utf8_lossy(&piped.stderr));
    let dr = host.command(&[]);
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", "\"$DR\" config cat 2026-08-20", "/dev/null"]);
    script
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("DR", dr.get_program())
        .current_dir(host.path(""));
    script.envs(dr.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let shown = script.output().unwrap().stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("\\u{1b}]0;pwn\\u{7}") && !shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn what_a_login_plugin_writes_is_passed_on_spelt_out_and_its_credentials_as_they_are() {
    let host = Host::new();
    let plugin = host.path("plugin");
    let credentials =
        r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}"#;
    let script =
        format!("#!/bin/sh\nprintf 'code: %s \\033]0;pwn\\007' \"$1\" >&2\necho '{credentials}'\nexit \"$2\"\n");
    std::fs::write(&plugin, script).unwrap();
    std::fs::set_permissions(&plugin, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let asked = |args: &str| {
        let text = format!(
            "current-context: c\n\
             clusters: [{{name: k, cluster: {{server: 'http://127.0.0.1:1'}}}}]\n\
             contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {}, args: {args}}}}}}}]\n",
            plugin.display()
        );
        std::fs::write(host.path("kubeconfig"), text).unwrap();
        let mut command = host.command(&["server", "status"]);
        String::from_utf8(command.env("KUBECONFIG", host.path("kubeconfig")).output().unwrap().stderr).unwrap()
    };
    let said = asked("[--help, '0']");
    assert!(said.contains("code: --help \\u{1b}]0;pwn\\u{7}") && !said.contains('\u{1b}'), "{said}");
    assert!(said.contains("cannot reach the cluster") && !said.contains("credentials"), "{said}");
    let failed = asked("[x, '3']");
    assert!(failed.contains("failed (exit status: 3)"), "{failed}");
}
