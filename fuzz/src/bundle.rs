//! The policy bundle: any files are a bundle or a list of mistakes, and the same files always the same.

use std::collections::BTreeMap;

use safeconduct_policy::{Bundle, BundleFiles};

/// Parts the files of an input.
const BETWEEN: u8 = 0x1e;
const NAMES: [&str; 3] = ["resources/orders-db.toml", "policies/orders.cedar", "tests/orders.toml"];

/// Three files, parted by a record separator.
pub fn bundle(data: &[u8]) {
    let parts = data.split(|byte| *byte == BETWEEN);
    let files: BTreeMap<String, Vec<u8>> = NAMES.iter().zip(parts).map(|(name, part)| ((*name).to_owned(), part.to_vec())).collect();
    let files = BundleFiles { files };
    match (Bundle::parse(&files), Bundle::parse(&files)) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one.hash, other.hash);
            assert_eq!(one.hash, files.hash());
        }
        (Err(one), Err(other)) => {
            assert!(!one.is_empty(), "refused without a reason");
            assert_eq!(one, other, "other mistakes the second time");
        }
        _ => panic!("a bundle once and none the other time"),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let files: [&[u8]; 3] = [
        include_bytes!("../../demo/bundle/resources/orders-db.toml"),
        include_bytes!("../../demo/bundle/policies/orders.cedar"),
        include_bytes!("../../demo/bundle/tests/orders.toml"),
    ];
    let small: [&[u8]; 3] = [
        b"kind = \"postgres\"\ndescription = \"d\"\n[postgres]\nhost = \"h\"\ndatabase = \"d\"\n[postgres.tls]\ndanger_disabled = true\n\
          [postgres.credentials]\nuser = \"u\"\npassword = \"env:P\"\n",
        b"@id(\"a\") @max_duration(\"30m\") permit (principal in Group::\"g\", action == Action::\"read\", resource is Resource)\
          when { context.approvals >= 1 && context.approved_by.contains(Group::\"dba\") };",
        b"[people]\nalice = [\"g\"]\n[[case]]\nname = \"n\"\nprincipal = \"alice\"\nresource = \"orders-db\"\noperations = [\"read\"]\nexpect = \"deny\"\n",
    ];
    [files, small].map(|files| files.join(&BETWEEN)).into()
}
