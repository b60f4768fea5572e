//! A schedule in the cluster goes with the vault: with what is live, and with its recipients.
//!
//! Helm and the API server are fakes, a script and a memory; what the pods are told is real. `tests/live/cronjob.rs` has the
//! real ones.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::api::{Api, status};
use crate::canaries::world::World;

const OTHER: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
const NAME: &str = "dr-bundle-opschain";

struct Scheduled {
    world: World,
    api: Api,
    forbidden: Arc<AtomicBool>,
}

impl Scheduled {
    /// A host that has deployed, with a bucket as its store.
    fn deployed() -> Self {
        let (world, forbidden) = (World::new(["", ""]), Arc::<AtomicBool>::default());
        let refuses = Arc::clone(&forbidden);
        let api = Api::serve(Box::new(move |request, _| {
            let is_cron_job = refuses.load(Ordering::Relaxed) && request.path.contains("/cronjobs");
            is_cron_job.then(|| (403, status(403, "Forbidden", "cronjobs.batch is forbidden: User \"u\" cannot")))
        }));
        world.own("kubeconfig", &api.kubeconfig());
        let values = "env:\n  OPSCHAIN_VERSION: \"2026-08-20\"\nstopped: false\n";
        world.own("values.yaml", values);
        world.own("values.json", &json!({"env": {"OPSCHAIN_VERSION": "2026-08-20"}, "stopped": false}).to_string());
        let manifest = "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: opschain-config\n";
        world.own("manifest", manifest);
        world.own("rendered.json", &json!({"name": "opschain", "manifest": manifest, "hooks": []}).to_string());
        let host = Self { world, api, forbidden };
        host.dr(&["init"], 0);
        let settings = host.world.home.path().join(".config/dr/dr.toml");
        let text = fs::read_to_string(&settings).unwrap();
        let store = text.lines().filter(|line| !line.starts_with("path = ") || !line.contains("bundles"));
        let text = store.map(|line| match line {
            "[store]" => "[store]\nurl = \"s3://b/x\"\nregion = \"eu-central-1\"\n",
            line => line,
        });
        fs::write(&settings, text.collect::<Vec<_>>().join("\n") + "\n").unwrap();
        host.deploy();
        host
    }

    /// What it says, stderr behind stdout.
    fn dr_with(&self, args: &[&str], environment: &[(&str, &str)], code: i32) -> String {
        let ran = self.world.dr_with(&[&["--no-input", "--yes"], args].concat(), environment);
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.code, code, "{args:?}: {said}");
        said
    }

    fn dr(&self, args: &[&str], code: i32) -> String {
        self.dr_with(args, &[], code)
    }

    fn deploy(&self) -> String {
        let (values, chart) =
            (self.world.operator.path().join("values.yaml"), self.world.operator.path().join("chart"));
        let args = ["deploy", "-f", values.to_str().unwrap(), "--chart", chart.to_str().unwrap(), "--no-wait"];
        self.dr(&args, 0)
    }

    fn object(&self, group: &str, kind: &str) -> Value {
        self.api.get(&format!("{group}/namespaces/opschain/{kind}"))
    }

    fn cron_job(&self) -> Value {
        self.object("/apis/batch/v1", &format!("cronjobs/{NAME}"))
    }

    /// `dr.toml` of the pods.
    fn pods(&self) -> String {
        self.object("/api/v1", &format!("configmaps/{NAME}"))["data"]["dr.toml"].as_str().unwrap().to_owned()
    }

    /// The deployment that they carry.
    fn carried(&self) -> String {
        let secret = self.object("/api/v1", &format!("secrets/{NAME}-config"));
        let packed = secret["data"]["deployment.json"].as_str().unwrap().to_owned();
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(packed).unwrap()).unwrap()
    }
}

#[test]
fn what_a_schedule_carries_is_renewed_by_whatever_changes_it_and_a_removed_key_opens_nothing_new() {
    let host = Scheduled::deployed();
    let said = host.dr(&["schedule", "install", "--cronjob"], 64);
    assert!(said.contains("--image NAME"), "{said}");
    let way_out = [("AWS_ENDPOINT_URL", "http://10.1.2.3:9000"), ("HTTPS_PROXY", "http://proxy:3128")];
    let install = ["schedule", "install", "--cronjob", "--image", "r.example/dr:1", "--at", "0 3 * * *"];
    let said = host.dr_with(&[&install[..], &["--time-zone", "Europe/Berlin"]].concat(), &way_out, 0);
    assert!(said.contains("the pods go without a key of the bucket"), "{said}");
    assert!(host.pods().contains("endpoint = \"http://10.1.2.3:9000\"") && !host.pods().contains(OTHER));
    let first = host.carried();

    // Again, without flags and from another shell: it stays as it was made.
    host.api.set(&format!("/apis/batch/v1/namespaces/opschain/cronjobs/{NAME}"), {
        let mut paused = host.cron_job();
        paused["spec"]["suspend"] = true.into();
        paused
    });
    let (before, pods) = (host.cron_job(), host.pods());
    let said = host.dr(&["schedule", "install", "--cronjob"], 0);
    assert!(said.contains("stays paused"), "{said}");
    assert_eq!((host.cron_job()["spec"].clone(), host.pods()), (before["spec"].clone(), pods));
    assert_eq!(before["spec"]["schedule"], "0 3 * * *");
    let environment = before["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["env"].to_string();
    assert!(environment.contains("http://proxy:3128") && environment.contains("$(KUBERNETES_SERVICE_HOST),.svc"));

    // A new key stops nothing; once all is sealed to it, it opens what is made.
    let said = host.dr(&["config", "recipients", "add", OTHER, "-m", "escrow"], 0);
    assert!(said.contains(&format!("do not open to {OTHER} until `dr config rekey`")), "{said}");
    assert!(!host.pods().contains(OTHER) && host.carried() == first);
    let said = host.dr(&["config", "rekey"], 0);
    assert!(
        said.contains("The schedule of opschain/opschain in the cluster") && said.contains("2 recipients"),
        "{said}"
    );
    assert!(host.pods().contains(OTHER) && host.carried().contains(OTHER));

    // A removed one opens nothing from now on, rekeyed or not.
    let said = host.dr(&["config", "recipients", "rm", OTHER, "-m", "gone", "--allow-single"], 0);
    assert!(said.contains("makes no bundle until `dr config rekey`"), "{said}");
    assert!(!host.pods().contains(OTHER));
    host.dr(&["config", "rekey"], 0);
    assert!(!host.carried().contains(OTHER));

    // What is live goes along, and who may not see a schedule says so.
    let before = host.carried();
    let said = host.deploy();
    assert!(said.contains("The schedule of opschain/opschain in the cluster") && host.carried() != before, "{said}");
    let now = host.carried();
    host.forbidden.store(true, Ordering::Relaxed);
    let said = host.deploy();
    let hint = "`dr schedule install --cronjob`, by somebody who may";
    assert!(said.contains("if there is one, does not know of this") && said.contains(hint), "{said}");
    assert_eq!(host.carried(), now);
}
