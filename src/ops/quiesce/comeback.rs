//! What would keep stopped writers from coming back, and who is taken for one of them, in words.

use crate::cluster::{PodRefusal, PodsReturn};

/// What is said where the nodes may not be listed.
pub const NODES_UNSEEN: &str =
    "whether a node would take the application's pods again is not known: the access rules do not allow list nodes";

/// That no node would take the pods of a writer.
pub fn no_node(writer: &str, why: &str) -> String {
    format!("no node would take the pods of {writer} again: {why}")
}

/// That the API server would make no pods of a writer, or give it no replicas.
pub fn not_admitted(writer: &str, refusal: &PodRefusal) -> String {
    format!("{writer} would not be admitted again: {}", refusal.why)
}

/// Who the pods are that only wear the label of a writer's.
pub fn strangers_line(names: &[String]) -> String {
    format!("labelled as the application's pods, and not of its Deployments: {}", names.join(", "))
}

/// What stops them: whatever makes pods would make those anew that are deleted.
pub fn strangers_way(namespace: &str, names: &[String]) -> String {
    let stopped = |name: &String| match name.split_once('/') {
        Some(("deployment" | "statefulset" | "replicaset", _)) => {
            format!("kubectl -n {namespace} scale {name} --replicas=0")
        }
        _ => format!("kubectl -n {namespace} delete {name}"),
    };
    names.iter().map(stopped).collect::<Vec<_>>().join("; ")
}

/// All of it, for whoever stops the application on purpose.
pub fn before_a_stop(returning: &PodsReturn, strangers: &[String]) -> Vec<String> {
    let PodsReturn { unadmitted, unplaceable, nodes_unseen } = returning;
    let nodes = unplaceable.iter().map(|(writer, why)| no_node(writer, why));
    let refused = unadmitted.iter().map(|(writer, refusal)| not_admitted(writer, refusal));
    let unseen = nodes_unseen.then(|| NODES_UNSEEN.to_owned());
    let strangers = (!strangers.is_empty()).then(|| format!("{}; they go on", strangers_line(strangers)));
    nodes.chain(refused).chain(unseen).chain(strangers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stops_on_purpose_is_told_all_that_would_keep_the_application_off() {
        let mut returning = PodsReturn::default();
        assert!(before_a_stop(&returning, &[]).is_empty());
        returning.unplaceable = vec![("opschain-api".into(), "n1: cordoned".into())];
        returning.nodes_unseen = true;
        let said = before_a_stop(&returning, &["opschain-api-debug".to_owned()]);
        assert_eq!(said[0], "no node would take the pods of opschain-api again: n1: cordoned");
        assert_eq!(said[1], NODES_UNSEEN);
        assert!(said[2].ends_with("not of its Deployments: opschain-api-debug; they go on"), "{said:?}");
    }
}
