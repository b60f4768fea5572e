//! The values of a restored install as the vault keeps them: in the layers that they were given in.

use zeroize::Zeroizing;

use super::chart;
use super::facts::OpenBundle;
use super::plan::RestorePlan;
use crate::error::{CommandError, Exit, Result};
use crate::ops::release::Release;
use crate::values::overlay::{self, Layer, LayerKind, OverlayError};
use crate::vault;

/// What was deployed: the bundle's values, in their layers if it has them, or those given in their place; and over them
/// what the place asks for. Helm makes of it what it made when it was deployed.
///
/// # Errors
/// The bundle does not open, or is not what it says; the file of values was changed.
pub(super) fn deployed(bundle: &OpenBundle, plan: &RestorePlan) -> Result<Vec<Layer>> {
    let (values, sets) = (chart::values(bundle, plan)?, plan.lasting());
    match plan.config {
        Some(_) => layers_for_record(values, Vec::new(), &sets),
        None => layers_for_record(values, sealed(bundle)?, &sets),
    }
}

/// The bundle's values, in their layers if it has them.
///
/// # Errors
/// The bundle does not open, or is not what it says.
pub(super) fn of_bundle(bundle: &OpenBundle) -> Result<Vec<Layer>> {
    layers_for_record(bundle.member("config/values.yaml.age")?, sealed(bundle)?, &[])
}

/// The layers that the bundle holds.
fn sealed(bundle: &OpenBundle) -> Result<Vec<Layer>> {
    let release = Release::parse(&bundle.member("config/release.json.age")?)?;
    let as_in_the_vault = release.layers.is_empty();
    let mut layers = Vec::new();
    for (place, layer) in release.sealed_layers.into_iter().chain(release.layers).enumerate() {
        let mut bytes = bundle.member(&format!("config/{}.age", layer.file))?;
        if as_in_the_vault {
            bytes = vault::given_content(place, layer.kind, bytes).ok_or_else(|| {
                CommandError::new(Exit::Damaged, format!("config/{} of the bundle has no line of digits", layer.file))
                    .hint("Take another copy of this bundle, or an older one: `dr bundle list`.")
            })?;
        }
        layers.push(Layer { kind: layer.kind, name: layer.name, bytes });
    }
    Ok(layers)
}

/// The layers where they come to what was deployed. Else, and where there are none, the values themselves: one of `sets`
/// may have been set by a flag that goes over ours.
fn layers_for_record(values: Zeroizing<Vec<u8>>, layers: Vec<Layer>, sets: &[(&str, &str)]) -> Result<Vec<Layer>> {
    let values = with_sets(vec![Layer { kind: LayerKind::Values, name: None, bytes: values }], sets);
    if layers.is_empty() {
        return Ok(values);
    }
    let layers = with_sets(layers, sets);
    let unreadable = |error: OverlayError| {
        CommandError::new(Exit::Damaged, "Helm would not read the values that the bundle holds").because(error)
    };
    let same = merged(&layers).map_err(unreadable)? == merged(&values).map_err(unreadable)?;
    Ok(if same { layers } else { values })
}

fn merged(layers: &[Layer]) -> Result<Zeroizing<Vec<u8>>, OverlayError> {
    overlay::merge(layers)
}

/// In the order in which Helm applies the kinds, as records have them.
fn with_sets(mut layers: Vec<Layer>, sets: &[(&str, &str)]) -> Vec<Layer> {
    for (key, value) in sets {
        let place = layers.partition_point(|layer| layer.kind <= LayerKind::Set);
        layers.insert(place, Layer::new(LayerKind::Set, format!("{key}={value}")));
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::super::overrides::VERSION;
    use super::*;

    const NEXT: &[(&str, &str)] = &[(VERSION, "2026-09-10")];

    fn layer(kind: LayerKind, text: &str) -> Layer {
        Layer::new(kind, text)
    }

    fn given(more: &[(LayerKind, &str)]) -> Vec<Layer> {
        let mut layers = vec![
            layer(LayerKind::Values, "# ours\nenv: {OPSCHAIN_VERSION: \"2026-08-20\", TZ: UTC}\n"),
            layer(LayerKind::Values, "env: {TZ: CET}\n"),
        ];
        layers.extend(more.iter().map(|(kind, text)| layer(*kind, text)));
        layers
    }

    fn texts(layers: &[Layer]) -> Vec<(LayerKind, &str)> {
        layers.iter().map(|layer| (layer.kind, std::str::from_utf8(&layer.bytes).unwrap())).collect()
    }

    #[test]
    fn layers_that_come_to_the_values_are_kept_and_a_version_goes_where_helm_applies_it() {
        let layers = || given(&[(LayerKind::SetString, "env.SITE=007")]);
        let values = || merged(&layers()).unwrap();
        let same = layers_for_record(values(), layers(), &[]).unwrap();
        assert_eq!(texts(&same), texts(&layers()));
        let newer = layers_for_record(values(), layers(), NEXT).unwrap();
        let set = [(LayerKind::Set, "env.OPSCHAIN_VERSION=2026-09-10"), (LayerKind::SetString, "env.SITE=007")];
        assert_eq!((&texts(&newer)[..2], &texts(&newer)[2..]), (&texts(&layers())[..2], &set[..]));
    }

    #[test]
    fn values_of_one_file_stay_its_bytes_and_a_version_over_them_is_a_layer() {
        let file = || Zeroizing::new(b"# mine\nenv: {OPSCHAIN_VERSION: \"2026-08-20\"}\n".to_vec());
        assert_eq!(layers_for_record(file(), Vec::new(), &[]).unwrap()[0].bytes, file());
        let newer = layers_for_record(file(), Vec::new(), NEXT).unwrap();
        let merged: serde_json::Value = serde_json::from_slice(&merged(&newer).unwrap()).unwrap();
        assert_eq!((newer.len(), &merged["env"]["OPSCHAIN_VERSION"]), (2, &"2026-09-10".into()), "what Helm was given");
    }

    #[test]
    fn layers_that_come_to_something_else_give_way_to_the_values() {
        let values = || merged(&given(&[])).unwrap();
        let other = layers_for_record(values(), given(&[(LayerKind::Set, "env.TZ=PST")]), &[]).unwrap();
        assert_eq!((other.len(), &other[0].bytes), (1, &values()));
        // A literal goes over every `--set`: then the version would be the old one.
        let layers = || given(&[(LayerKind::SetLiteral, "env.OPSCHAIN_VERSION=2026-08-20")]);
        let newer = layers_for_record(merged(&layers()).unwrap(), layers(), NEXT).unwrap();
        assert_eq!(texts(&newer)[1], (LayerKind::Set, "env.OPSCHAIN_VERSION=2026-09-10"));
    }
}
