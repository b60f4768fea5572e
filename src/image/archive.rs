//! An image as one file: an OCI layout in a tar, with the list that docker reads beside it.

use std::io::{self, Write};

use serde_json::json;

use super::program_image::{MANIFEST, ProgramImage};
use super::reference::ImageReference;
use crate::ustar;

/// Writes the image under this name. What reads the OCI form (containerd, K3s, `skopeo oci-archive:`) and what reads docker's
/// (`docker load`, `skopeo docker-archive:`) finds the same blobs; the bytes are the same each time.
///
/// # Errors
/// It cannot be written, or the program has changed since the image was made.
pub fn write_archive(image: &ProgramImage, name: &ImageReference, to: &mut impl Write) -> io::Result<()> {
    let blob = |digest: &str| format!("blobs/{}", digest.replace(':', "/"));
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": MANIFEST,
            "digest": image.digest(),
            "size": image.manifest().len(),
            "platform": {"architecture": image.architecture().word(), "os": "linux"},
            "annotations": {
                "io.containerd.image.name": name.to_string(),
                "org.opencontainers.image.ref.name": name.tag(),
            },
        }],
    });
    let docker = json!([{
        "Config": blob(&image.config_digest()),
        "RepoTags": [name.to_string()],
        "Layers": [blob(image.layer_digest())],
    }]);
    let small = [
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.to_string().into_bytes()),
        ("manifest.json".to_owned(), docker.to_string().into_bytes()),
        (blob(&image.digest()), image.manifest().to_vec()),
        (blob(&image.config_digest()), image.config().to_vec()),
    ];
    for (path, bytes) in small {
        entry(to, &path, bytes.len() as u64, std::iter::once(Ok(bytes)))?;
    }
    entry(to, &blob(image.layer_digest()), image.layer_length(), image.layer())?;
    to.write_all(&ustar::END)?;
    to.flush()
}

fn entry(
    to: &mut impl Write,
    path: &str,
    bytes: u64,
    content: impl Iterator<Item = io::Result<Vec<u8>>>,
) -> io::Result<()> {
    to.write_all(&ustar::file_header(path, bytes, 0, 0)?)?;
    for piece in content {
        to.write_all(&piece?)?;
    }
    to.write_all(&vec![0; usize::try_from(ustar::padding(bytes)).unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;
    use crate::image::program_image::digest;

    #[test]
    fn every_blob_is_there_under_its_digest_and_both_lists_lead_to_them() {
        let image = ProgramImage::of(&std::env::current_exe().unwrap()).unwrap();
        let name = ImageReference::parse("localhost/dr", "1").unwrap();
        let (mut written, mut again) = (Vec::new(), Vec::new());
        write_archive(&image, &name, &mut written).unwrap();
        write_archive(&image, &name, &mut again).unwrap();
        assert!(written == again, "the bytes differ");
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(written.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), bytes);
        }
        for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with("blobs/")) {
            assert_eq!(*path, format!("blobs/{}", digest(bytes).replace(':', "/")));
        }
        let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        let index = json(&files["index.json"]);
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "localhost/dr:1");
        let manifest = json(&files[&format!("blobs/{}", image.digest().replace(':', "/"))]);
        let docker = json(&files["manifest.json"]);
        for (listed, digest) in [
            (&docker[0]["Config"], &manifest["config"]["digest"]),
            (&docker[0]["Layers"][0], &manifest["layers"][0]["digest"]),
        ] {
            assert_eq!(listed.as_str().unwrap(), format!("blobs/{}", digest.as_str().unwrap().replace(':', "/")));
            assert!(files.contains_key(listed.as_str().unwrap()));
        }
        assert_eq!(docker[0]["RepoTags"][0], "localhost/dr:1");
    }
}
