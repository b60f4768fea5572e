//! The one door of the integration tests (`tests/`): what they use of the crate, under the paths it has inside. It is
//! there only with the feature `fault-points`, so in a build for users the compiler sees everything that nothing calls.

pub mod agent {
    pub use crate::agent::{AgentError, PodFiles, PutBack, ServeOptions, Watchdog, attach, serve};
    pub mod protocol {
        pub use crate::agent::protocol::{
            BackupDone, BackupPart, BackupRequest, BaseDone, FailureKind, KeptChunks, StageReport, StageRequest,
            SwapRequest, VolumeDone, VolumeRequest, WalRoom,
        };
    }
}

pub mod bundle {
    pub use crate::bundle::{
        BackupFacts, BackupIdentity, BundleError, BundleFault, BundleId, BundleReference, BundledVolume, Catalog,
        Depth, Estimated, Extraction, FORMAT, HOST_NAMESPACES, Header, HeldAgainst, OpsChain, OutOfScope, PostgreSql,
        Proof, PublishedRecord, QuiesceMode, RawTotal, Reader, SIGNATURE_NAMESPACE, SampleShare, SignatureState,
        SourceInstall, StoredProof, Stream, Trust, UnpublishedBundle, Writer,
    };
    pub mod report {
        pub use crate::bundle::report::{ListReport, ShowReport, VerifyReport};
    }
}

pub mod cli {
    pub use crate::cli::command;
}

pub mod cluster {
    pub use crate::cluster::{
        Cluster, ClusterError, KeptObject, NamespaceState, ObjectRef, Permission, PutBackResult, Wait, WorkloadKind,
    };
    pub mod pod {
        pub use crate::cluster::pod::{
            BackupPod, CLIENT_CERTIFICATE, CLIENT_KEY, HelperPod, HelperSite, RecoveryPod, SERVER_CA,
        };
    }
    pub mod transport {
        pub use crate::cluster::transport::{
            Agent, AgentSession, BackupItem, Dial, DialError, Patience, ReceivedChunk, StageChunk, TransportError,
            VolumeItem, Way, Words,
        };
    }
}

pub mod crypt {
    pub use crate::crypt::{Hashed, Identities, Recipients, Signer, TrustedSigners};
}

pub mod error {
    pub use crate::error::{CommandError, Exit, chain};
}

pub mod event {
    pub use crate::event::{Event, Events};
}

pub mod filetree {
    pub use crate::filetree::{TreeTotals, fill, hold_against, list, pack};
}

pub mod journal {
    pub use crate::journal::{Remains, Run, StoredRun};
}

pub mod ops {
    pub mod create {
        pub use crate::ops::create::step_names;
    }
    pub mod init {
        pub use crate::ops::init::commit_signer;
    }
    pub mod restore {
        pub use crate::ops::restore::{RestoreStrategy, step_names};
    }
}

pub mod opschain {
    pub use crate::opschain::Version;
    pub mod workloads {
        pub use crate::opschain::workloads::WORKING_PODS;
    }
}

pub mod postgres {
    pub use crate::postgres::{BackupManifest, ControlData, Lsn};
    pub mod basebackup {
        pub use crate::postgres::basebackup::{WalCheck, WalEnd};
    }
    pub mod argv {
        pub use crate::postgres::argv::Connection;
    }
}

pub mod settings {
    pub use crate::settings::{Quiesce, Settings};
}

pub mod text {
    pub use crate::text::is_safe;
}

pub mod ustar {
    pub use crate::ustar::{TarEntry, TarError, TarReader, TarSink};
}

pub mod values {
    pub use crate::values::{Scrubber, Tree, YamlError};
    pub mod diff {
        pub use crate::values::diff::diff;
    }
    pub mod lint {
        pub use crate::values::lint::{ALL, lint};
    }
    pub mod overlay {
        pub use crate::values::overlay::{
            Layer, LayerKind, OverlayError, document, document_of_file, merge, set_file_parts,
        };
    }
}

pub mod vault {
    pub use crate::vault::{
        CommitSigner, DeploymentId, DeploymentOutcome, DeploymentStatus, FORMAT, How, Intent, ListedBundle,
        RecordedChart, RecordedInstall, Vault,
    };
}

pub mod wire {
    pub use crate::wire::{Decoder, Limits, LinkError};
}

pub mod yaml {
    pub use crate::yaml::Trap;
}

pub mod store {
    pub use crate::redact::Secrets;
    pub use crate::store::{BucketOptions, BucketStore, Checksum, Notice};
    pub use tokio_util::sync::CancellationToken;
}
