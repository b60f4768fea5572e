//! The README inside a bundle: how to restore it by hand.

use super::format::SIGNATURE_NAMESPACE;
use super::header::{Header, QuiesceMode};

const TEMPLATE: &str = include_str!("../../templates/bundle-readme.md");

/// Fills the template with the bundle's own names and sizes.
pub(super) fn render(header: &Header) -> Vec<u8> {
    let recipients: Vec<String> = header.recipients.iter().map(|key| format!("- `{key}`")).collect();
    let scope: Vec<String> = header
        .scope
        .iter()
        .map(|item| {
            format!(
                "- **{}**: {}. {}.",
                item.what,
                item.why.trim_end_matches('.'),
                item.whereabouts.trim_end_matches('.')
            )
        })
        .collect();
    let none = "- nothing was named";
    let list = |lines: &[String]| if lines.is_empty() { none.to_owned() } else { lines.join("\n") };
    let quiesce = match header.quiesce {
        QuiesceMode::Brief => "the application was stopped for seconds, at the moment whose state this is",
        QuiesceMode::Full => "the application was stopped while it was made",
        QuiesceMode::None => "the application was NOT stopped: what was in progress is cut off as by a crash",
        QuiesceMode::Unknown => "in a way that only a newer dr knows",
    };
    let facts: [(&str, String); 16] = [
        ("id", header.id.to_string()),
        ("created", header.created.to_string()),
        ("dr_version", header.dr_version.clone()),
        ("format", header.format.to_string()),
        ("opschain", header.opschain.version.clone()),
        ("chart", header.opschain.chart_version.clone()),
        ("namespace", header.install.namespace.to_string()),
        ("release", header.install.release.to_string()),
        ("cluster", header.install.database_cluster.to_string()),
        ("major", header.postgresql.major.to_string()),
        ("server", header.postgresql.version.clone()),
        ("system_identifier", header.postgresql.system_identifier.clone()),
        ("database_size", size(header.estimated.database_bytes)),
        ("quiesce", quiesce.to_owned()),
        ("signature_namespace", SIGNATURE_NAMESPACE.to_owned()),
        ("recipients", list(&recipients)),
    ];
    let mut text = TEMPLATE.replace("{{scope}}", &list(&scope));
    for (name, value) in &facts {
        text = text.replace(&format!("{{{{{name}}}}}"), value);
    }
    text.into_bytes()
}

/// Bytes as a person reads them.
fn size(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let step = (0..4).take_while(|step| bytes >> (10 * (step + 1)) > 0).count();
    if step == 0 {
        format!("{bytes} bytes")
    } else {
        format!("{:.1} {}", bytes as f64 / (1u64 << (10 * step)) as f64, units[step])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::testing;

    #[test]
    fn every_placeholder_is_filled_and_every_fact_is_there() {
        let header = testing::header();
        let text = String::from_utf8(render(&header)).unwrap();
        assert!(!text.contains("{{"), "{text}");
        for fact in [header.id.as_str(), "2026-08-20", "opschain-db", "age1", "dr-bundle@v1", "LDAP"] {
            assert!(text.contains(fact), "{fact}");
        }
    }

    #[test]
    fn the_pod_of_the_way_by_hand_is_admitted_where_pod_security_is_restricted() {
        let text = String::from_utf8(render(&testing::header())).unwrap();
        let manifest = text.split("-f - <<END\n").nth(1).unwrap().split("\nEND\n").next().unwrap();
        let pod: serde_json::Value = serde_yaml::from_str(manifest).unwrap();
        let (spec, containers) = (&pod["spec"], pod["spec"]["containers"].as_array().unwrap());
        for field in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
            assert!(spec[field].is_null(), "{field}");
        }
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_ne!(spec["securityContext"]["runAsUser"], 0);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in containers {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false);
            assert_eq!(context["capabilities"], serde_json::json!({"drop": ["ALL"]}));
            assert!(context["privileged"].is_null() && container["ports"].is_null());
        }
        for volume in spec["volumes"].as_array().unwrap() {
            assert!(volume["persistentVolumeClaim"].is_object() && volume.as_object().unwrap().len() == 2, "{volume}");
        }
    }

    #[test]
    fn sizes_are_read_by_people() {
        assert_eq!([size(0), size(1023), size(1536), size(5 << 30)], ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 GiB"]);
    }
}
