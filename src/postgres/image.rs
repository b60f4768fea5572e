//! The major version of PostgreSQL that an image's tag names.

/// Majors that a tag is believed to mean: a tag may also be a date, which is none.
const MAJORS: std::ops::RangeInclusive<u32> = 9..=99;

/// The major version of `image`, where its tag begins with one, such as `registry:5000/opschain-db:17.10@sha256:...`;
/// `None` where only the programs inside can tell.
pub fn major_of(image: &str) -> Option<u32> {
    let named = image.split('@').next().unwrap_or(image);
    let (_, tag) = named.rsplit('/').next()?.split_once(':')?;
    let digits = tag.strip_prefix('v').unwrap_or(tag).split(['.', '-', '_']).next()?;
    let is_number = !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|major| is_number && MAJORS.contains(major))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_tells_the_major_wherever_the_image_is_from() {
        for (image, major) in [
            ("limepoint/opschain-db:17.10", Some(17)),
            ("registry.example:5000/limepoint/opschain-db:15-lab", Some(15)),
            ("ghcr.io/cloudnative-pg/postgresql:18.6-standard-bookworm@sha256:0123456789abcdef", Some(18)),
            ("postgres:v16", Some(16)),
            ("postgres:17beta2", None),
            ("registry.example:5000/limepoint/opschain-db", None),
            ("opschain-db@sha256:0123456789abcdef", None),
            ("limepoint/opschain-db:2026-08-20", None),
            ("limepoint/opschain-db:017.5", None),
            ("limepoint/opschain-db:latest", None),
            ("postgres:", None),
            ("", None),
        ] {
            assert_eq!(major_of(image), major, "{image}");
        }
    }
}
