//! `dr image`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::error::{Exit, Result};
use crate::image::{ImageReference, RegistryOptions};
use crate::ops::image::{self, PushImageReport, SaveImageReport};
use crate::ops::{Ctx, quoted};
use crate::text::bytes;
use crate::ui::{Mark, Page, Report, Ui};

/// This program as a container image: one static file and nothing below it
///
/// The same program is the same image, byte for byte. It holds no key, no setting and no certificate.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr image push registry.example.org/tools/dr
  dr image save dr.tar")]
pub struct ImageArgs {
    #[command(subcommand)]
    verb: ImageVerb,
}

#[derive(Debug, Subcommand)]
enum ImageVerb {
    Save(SaveImageArgs),
    Push(PushImageArgs),
}

/// Write the image to a file, for a cluster without a registry
///
/// containerd, K3s, docker, podman and skopeo read it: it is an OCI layout in a tar with docker's own list beside it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr image save dr.tar && ctr --namespace k8s.io images import dr.tar
  dr image save /var/lib/rancher/k3s/agent/images/dr.tar
  dr image save - | docker load")]
struct SaveImageArgs {
    /// A file that is not there yet; `-` is stdout
    file: PathBuf,
    /// What the image is to be called: REGISTRY/REPOSITORY[:TAG]
    #[arg(long, value_name = "NAME", default_value = "localhost/dr")]
    name: String,
}

/// Push the image to a registry
///
/// As whoever `helm registry login`, `docker login` or `podman login` has logged in there; the first that has is taken.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr image push registry.example.org/tools/dr
  dr image push registry.example.org/tools/dr:test --ca-file ca.pem")]
struct PushImageArgs {
    /// REGISTRY/REPOSITORY[:TAG]; the tag is dr's version where there is none
    name: String,
    /// Certificates to trust beside the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Speak with the registry without TLS: login and image can be read on the way
    #[arg(long)]
    plain_http: bool,
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: ImageArgs) -> Result<Exit> {
    match args.verb {
        ImageVerb::Save(SaveImageArgs { file, name }) => {
            let name: ImageReference = name.parse()?;
            match file.as_path() == Path::new("-") {
                true => image::write(&name, &mut ui.stream()?)?,
                false => ui.report(&image::save(&name, &file)?)?,
            }
        }
        ImageVerb::Push(PushImageArgs { name, ca_file, plain_http }) => {
            let options = RegistryOptions { plain_http, ca_file };
            ui.report(&image::push(ctx, &name.parse()?, &options).await?)?;
        }
    }
    Ok(Exit::Success)
}

impl Report for SaveImageReport {
    fn human(&self, page: &mut Page) {
        let Self { image, file, architecture, .. } = self;
        page.finding(Mark::Ok, &format!("{image} ({architecture}) is in {file} ({})", bytes(self.bytes)), None);
        page.fields(&[("image", self.digest.as_str()), ("program", &format!("sha256:{}", self.program_sha256))]);
        page.next(&format!("on each node: ctr --namespace k8s.io images import {}", quoted(file)));
    }
}

impl Report for PushImageReport {
    fn human(&self, page: &mut Page) {
        let Self { image, architecture, .. } = self;
        let sent = match self.sent_bytes {
            0 => "it was there".to_owned(),
            sent => format!("{} sent", bytes(sent)),
        };
        page.finding(Mark::Ok, &format!("{image} ({architecture}) is in its registry, {sent}"), None);
        page.fields(&[("image", self.digest.as_str()), ("program", &format!("sha256:{}", self.program_sha256))]);
    }
}
