//! The stores of the settings, opened.

use std::sync::Arc;
use std::time::Duration;

use super::{Ctx, published};
use crate::bundle::Catalog;
use crate::error::Result;
use crate::settings::{Install, PartChecksum, StoreSettings, TimeSpan, bytes_of_rate};
use crate::store::{self, BucketOptions, Checksum, Notice, Store, StoreAccess, USUAL_WAIT};

impl Ctx {
    /// The store that is called `place`: of the settings, a plan, or a journal.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn store_at(&self, place: &str) -> Result<Arc<dyn Store>> {
        self.store_paced(place, None)
    }

    /// The same, to which no more than so many bytes go up a second.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn store_paced(&self, place: &str, bytes_a_second: Option<u64>) -> Result<Arc<dyn Store>> {
        // Without settings a bucket is reached by what the environment says.
        let known = self.settings_or_defaults().ok().map(|settings| &settings.store);
        let stores = known.into_iter().flat_map(|store| std::iter::once(store).chain(&store.mirrors));
        let known = stores.filter_map(|store| Some((store.url.clone()?, options(store))));
        // Of the same name, what was found first counts: what is not in the settings is reached as by default.
        let other = (place.to_owned(), BucketOptions { wait: Some(USUAL_WAIT), ..BucketOptions::default() });
        let paced = |(called, options): (String, BucketOptions)| {
            let rate = options.bytes_a_second.into_iter().chain(bytes_a_second).min();
            (called, BucketOptions { bytes_a_second: rate, kept: Some(self.state.join("stores")), ..options })
        };
        let events = self.events.clone();
        let access = StoreAccess {
            buckets: known.chain([other]).map(paced).collect(),
            secrets: self.secrets().clone(),
            stop: self.cancel.clone(),
            notice: Notice::to(move |text| events.warn(text, None)),
        };
        Ok(store::open_at(place, &access)?)
    }

    /// The store that is called `place`, that of the settings when absent.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn store_or(&self, place: Option<&str>) -> Result<Arc<dyn Store>> {
        place.map_or_else(|| self.store(), |place| self.store_at(place))
    }

    /// The same, which waits for no server that is away: for verbs that say how things stand now.
    #[must_use]
    pub fn without_waits(&self) -> Self {
        let now = Some(TimeSpan(Duration::ZERO));
        self.with_settings(|settings| {
            settings.store.wait = now;
            settings.store.mirrors.iter_mut().for_each(|mirror| mirror.wait = now);
        })
    }

    /// The same settings, keys and redactor for another install.
    #[must_use]
    pub fn for_install(&self, install: Install) -> Self {
        self.with_settings(|settings| settings.install = install)
    }

    /// What `store` holds.
    ///
    /// # Errors
    /// It cannot be listed, the user has asked to stop, or it is empty and was not: a disk that is not mounted, or the
    /// folder or prefix of something else.
    pub fn catalog(&self, store: &dyn Store) -> Result<Catalog> {
        // Where nobody is trusted, no proof counts.
        let catalog = Catalog::read(store, &self.trusted_signers(None).unwrap_or_default())?;
        // What was not read because of the signal is not to be taken for damaged.
        self.check_cancelled()?;
        published::require_not_emptied(self, &catalog)?;
        Ok(catalog)
    }
}

fn options(store: &StoreSettings) -> BucketOptions {
    BucketOptions {
        endpoint: store.endpoint.clone(),
        region: store.region.clone(),
        virtual_host: store.virtual_host,
        ca_file: store.ca_file.clone(),
        credentials_file: store.credentials_file.clone(),
        profile: store.profile.clone(),
        part_bytes: store.part_mib.map(|mib| u64::from(mib) << 20),
        checksum: store.checksum.map(|checksum| match checksum {
            PartChecksum::Sha256 => Checksum::Sha256,
            PartChecksum::Crc64nvme => Checksum::Crc64Nvme,
        }),
        bytes_a_second: store.max_rate.as_deref().and_then(bytes_of_rate),
        wait: Some(store.wait.map_or(USUAL_WAIT, |wait| wait.0)),
        kept: None,
        retries: None,
    }
}
