//! The workers of an install whose record is of a restore that was held.

use crate::error::Result;
use crate::ops::Ctx;
use crate::opschain::workloads::Names;
use crate::values::overlay::{Layer, LayerKind};

/// How many workers the values ask for, as `--set` takes it.
const WORKERS: &str = "apiWorker.replicas";

/// A restore that was held is recorded with no workers. Once somebody has started them, they are not stopped again.
pub(super) fn with_workers(mut layers: Vec<Layer>, running: i32) -> Vec<Layer> {
    let held = format!("{WORKERS}=0");
    for layer in layers.iter_mut().filter(|layer| layer.kind == LayerKind::Set && *layer.bytes == held.as_bytes()) {
        if running > 0 {
            *layer = Layer::new(LayerKind::Set, format!("{WORKERS}={running}"));
        }
    }
    layers
}

/// How many workers there are to be now.
///
/// # Errors
/// The cluster cannot be asked.
pub(super) async fn running_workers(ctx: &Ctx) -> Result<i32> {
    let worker = Names::default().worker();
    let all = ctx.cluster().await?.workloads().await?;
    Ok(all.iter().find(|workload| workload.name == worker).map_or(0, |workload| workload.replicas))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_somebody_has_started_since_a_held_restore_are_not_stopped_by_an_upgrade() {
        let layers =
            || vec![Layer::new(LayerKind::Values, "a: 1\n"), Layer::new(LayerKind::Set, "apiWorker.replicas=0")];
        let texts = |layers: Vec<Layer>| layers.iter().map(|layer| layer.bytes.to_vec()).collect::<Vec<_>>();
        assert_eq!(texts(with_workers(layers(), 3))[1], b"apiWorker.replicas=3");
        assert_eq!(texts(with_workers(layers(), 0)), texts(layers()), "it is held still");
    }
}
