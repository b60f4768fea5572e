//! What `dr` sees of the world in these tests: a home, a helm and a Kubernetes API that both say too much.
//!
//! Neither is real. The helm is a script that keeps releases in a folder and prints dumps of what it is given and of what
//! is live, as `helm --debug` does; the API server keeps objects in memory, gives out Secrets, and quotes what is live in
//! its refusals. Both stand outside of what is searched. `tests/live/secrets.rs` does the same with the real ones.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tempfile::TempDir;

use crate::api::{Api, status};

pub struct World {
    /// Searched: all that `dr` may write.
    pub home: TempDir,
    /// Searched too: its temporary files.
    pub tmp: TempDir,
    /// The operator's own, where the secrets stand in the clear, and the stand-ins.
    pub operator: TempDir,
    /// Whether helm and the API server refuse, quoting all they know.
    refusing: Arc<AtomicBool>,
    /// The API server.
    pub api: Api,
}

pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl World {
    /// A world whose stand-ins say the first of `leaks` of values with the mark `# first` in them, else the second.
    pub fn new(leaks: [&str; 2]) -> Self {
        let folder = || tempfile::Builder::new().prefix("dr-canary-").tempdir_in("/tmp").unwrap();
        let (home, tmp, operator) = (folder(), folder(), folder());
        let refusing = Arc::new(AtomicBool::new(false));
        let api = serve(operator.path().join("live"), Arc::clone(&refusing));
        let world = Self { home, tmp, operator, refusing, api };
        world.own("kubeconfig", &world.api.kubeconfig());
        world.own("live", "");
        world.own("leaks-first", leaks[0]);
        world.own("leaks-second", leaks[1]);
        world.own(
            "chart/Chart.yaml",
            "apiVersion: v2\nname: opschain\nversion: 2026.8.20\nappVersion: \"2026-08-20\"\n",
        );
        world.own("chart/values.yaml", "env: {}\nstopped: false\n");
        for name in ["helm", "editor"] {
            let text = match name {
                "helm" => HELM.replace("@OPERATOR@", world.operator.path().to_str().unwrap()),
                _ => "#!/bin/sh\nprintf '# edited\\n' >> \"$1\"\n".to_owned(),
            };
            let path = world.own(&format!("bin/{name}"), &text);
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        world
    }

    /// Writes a file of the operator's.
    pub fn own(&self, name: &str, text: &str) -> PathBuf {
        let path = self.operator.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::Relaxed);
        let flag = self.operator.path().join("refusing");
        let done = if refuse { std::fs::write(flag, "") } else { std::fs::remove_file(flag) };
        done.unwrap();
    }

    pub fn dr(&self, args: &[&str]) -> Ran {
        self.dr_with(args, &[])
    }

    /// The same, with more in the environment.
    pub fn dr_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr"));
        let path = format!("{}/bin:/usr/bin:/bin", self.operator.path().display());
        command.args(args).env_clear().env("HOME", self.home.path()).env("TMPDIR", self.tmp.path()).env("PATH", path);
        command
            .env("DR_WHO", "operator")
            .env("DR_RECORD_FACTS", self.home.path())
            .env("EDITOR", "editor")
            .env("KUBECONFIG", self.operator.path().join("kubeconfig"));
        command.envs(environment.iter().copied());
        let output = command.current_dir(self.home.path()).stdin(Stdio::null()).output().unwrap();
        Ran { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr: output.stderr }
    }
}

/// A helm that remembers releases, and prints more than it should.
const HELM: &str = r#"#!/bin/sh
own=@OPERATOR@
state=$own/helm
mkdir -p $state
sub=$1
echo "$*" >> $own/asked
last=$(ls $state | grep -c values)
facts() { sed 's/^/  /' $own/chart/Chart.yaml; }
case "$sub" in
version) echo v4.1.4; exit 0 ;;
esac
given=
[ $sub = upgrade ] && { cat > $own/given; given=second; grep -q '# first' $own/given && given=first; cat $own/leaks-$given >&2; }
cat $own/live >&2
if [ -e $own/refusing ]; then
    printf 'Error: UPGRADE FAILED: cannot patch "opschain" with kind Secret: Secret in version "v1" cannot be handled: %s\n' "$(cat $own/live)" >&2
    exit 1
fi
case "$sub" in
history)
    [ $last = 0 ] && { echo 'Error: release: not found' >&2; exit 1; }
    printf '['
    for n in $(seq 1 $last); do
        [ $n = 1 ] || printf ','
        status=superseded; [ $n = $last ] && status=deployed
        printf '{"revision":%s,"updated":"2026-08-20T10:00:0%sZ","status":"%s","chart":"opschain-2026.8.20","app_version":"2026-08-20","description":"%s"}' $n $((n % 10)) $status "$(cat $state/description-$n)"
    done
    printf ']\n' ;;
list) printf '[{"name":"opschain","namespace":"opschain","revision":"%s","updated":"-","status":"deployed","chart":"opschain-2026.8.20","app_version":"2026-08-20"}]\n' $last ;;
show)
    for argument; do
        [ "$argument" = values ] && { cat $own/chart/values.yaml; exit 0; }
    done
    cat $own/chart/Chart.yaml ;;
package | pull)
    while [ $# -gt 0 ]; do
        [ "$1" = --destination ] && tar -czf "$2/opschain-2026.8.20.tgz" -C $own --transform 's,^chart,opschain,' chart
        shift
    done ;;
get)
    what=
    for argument; do case "$argument" in values | manifest | hooks | notes | metadata) what=$argument ;; esac; done
    case "$what" in
    values) cat $own/values.json ;;
    metadata) printf '{"name":"opschain","chart":"opschain","version":"2026.8.20","namespace":"opschain","revision":%s,"status":"deployed","deployedAt":"2026-08-20T10:00:00Z"}\n' $last ;;
    *) cat $own/manifest ;;
    esac ;;
upgrade)
    dry=
    description=
    while [ $# -gt 0 ]; do
        case "$1" in
        --dry-run*) dry=1 ;;
        --description) description=$2 ;;
        --description=*) description=${1#*=} ;;
        esac
        shift
    done
    if [ $dry ]; then
        cat > /dev/null
        cat $own/rendered.json
        exit 0
    fi
    n=$((last + 1))
    mv $own/given $state/values-$n
    cp $own/leaks-$given $own/live
    printf '%s' "$description" > $state/description-$n
    cat $own/live
    printf 'Release "opschain" has been upgraded. Happy Helming!\n' ;;
esac
exit 0
"#;

/// A Kubernetes API that gives out Secrets with all that is live, and quotes it where it refuses.
fn serve(live: PathBuf, refusing: Arc<AtomicBool>) -> Api {
    Api::serve(Box::new(move |request, objects| {
        let leaks = std::fs::read_to_string(&live).unwrap_or_default();
        if refusing.load(Ordering::Relaxed) && request.path != "/version" {
            let message = format!("Secret \"opschain\" is invalid: data: Invalid value: \"{leaks}\": must be base64");
            return Some((422, status(422, "Invalid", &message)));
        }
        let parts: Vec<&str> = request.path.split('/').collect();
        let ["", "api", "v1", "namespaces", namespace, "secrets", name] = parts[..] else { return None };
        if request.method != "GET" || objects.contains_key(&request.path) {
            return None;
        }
        let data = json!({"everything": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, leaks)});
        let metadata = json!({"name": name, "namespace": namespace, "uid": "u", "resourceVersion": "7"});
        Some((200, json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": data})))
    }))
}

/// The path as an argument.
pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
