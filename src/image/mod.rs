//! `dr`'s own container image: one static file, and nothing below it.
//!
//! [`ProgramImage`] is made of the program's own bytes, the same bytes each time; [`write_archive`] writes it as a file that
//! containerd, docker, podman and skopeo read, and [`RegistryClient`] pushes it to a registry.

mod archive;
mod challenge;
mod credentials;
mod error;
mod program_image;
mod reference;
mod registry;

pub use archive::write_archive;
pub use error::ImageError;
pub use program_image::ProgramImage;
pub use reference::ImageReference;
pub use registry::{RegistryClient, RegistryOptions};
