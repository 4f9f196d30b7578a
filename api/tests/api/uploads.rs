//! Blobs, modules and contents.

use aevir_wire::{Access, Artifact, RegisterContent, digest};
use reqwest::Method;

use crate::support::{MODULE, TestPlatform};

#[tokio::test]
async fn a_blob_comes_back_whole_and_in_parts_to_its_owner_only() {
    let platform = TestPlatform::start().await;
    let owner = platform.account("owner").await;
    let stranger = platform.account("stranger").await;
    let bytes: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    let blob = owner.client.put_blob(bytes.clone()).await.unwrap();
    assert_eq!(
        (blob.digest.as_str(), blob.size.as_str()),
        (digest(&bytes).as_str(), "300000")
    );
    assert_eq!(owner.client.blob(&blob.digest).await.unwrap(), bytes);

    let before = platform.size();
    owner.client.put_blob(bytes.clone()).await.unwrap();
    assert_eq!(platform.size(), before, "the same upload is recorded once");

    let file = platform.dir().join("download");
    assert_eq!(
        owner
            .client
            .download_blob(&blob.digest, &file)
            .await
            .unwrap(),
        300_000
    );
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let again = owner.client.put_blob_file(&file).await.unwrap();
    assert_eq!(again, blob);

    let path = format!("/v1/blobs/{}", blob.digest);
    let http = reqwest::Client::builder()
        .tls_certs_only([])
        .build()
        .unwrap();
    let part = http.get(format!("{}{path}", platform.server.url()));
    let part = part
        .bearer_auth(&owner.key)
        .header("range", "bytes=10-19")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 10-19/300000");
    assert_eq!(part.bytes().await.unwrap(), bytes[10..20]);
    let outside = http.get(format!("{}{path}", platform.server.url()));
    let outside = outside
        .bearer_auth(&owner.key)
        .header("range", "bytes=300000-")
        .send()
        .await
        .unwrap();
    assert_eq!(outside.status(), 416);

    platform
        .refused(stranger.client.blob(&blob.digest), 404, "unknown-blob")
        .await;
    platform
        .refused(
            stranger.client.blob(&digest(b"nothing")),
            404,
            "unknown-blob",
        )
        .await;
    platform
        .refused(stranger.client.blob("nonsense"), 404, "unknown-blob")
        .await;
    stranger.client.put_blob(bytes.clone()).await.unwrap();
    assert_eq!(
        stranger.client.blob(&blob.digest).await.unwrap(),
        bytes,
        "it has the bytes itself"
    );
}

#[tokio::test]
async fn wrong_and_oversized_uploads_leave_nothing() {
    let platform = TestPlatform::builder()
        .limits(|l| {
            l.blob_bytes_max = 1_000;
            l.module_bytes_max = 1_000;
        })
        .start()
        .await;
    let owner = platform.account("owner").await;
    let key = Some(owner.key.as_str());
    let path = format!("/v1/blobs/{}", digest(b"expected"));
    let put = (Method::PUT, path.as_str());
    platform
        .refuse(put.clone(), key, "something else", (422, "digest-mismatch"))
        .await;
    platform
        .refuse(put.clone(), key, vec![0; 1_001], (413, "body-too-large"))
        .await;
    // Without a length announced, the limit is found while reading.
    let chunks = futures::stream::iter((0..20).map(|_| std::io::Result::Ok(vec![0u8; 100])));
    let unannounced = reqwest::Body::wrap_stream(chunks);
    platform
        .refuse(put, key, unannounced, (413, "body-too-large"))
        .await;
    platform
        .refused(owner.client.blob(&digest(b"expected")), 404, "unknown-blob")
        .await;
    platform
        .refuse(
            (Method::PUT, "/v1/blobs/xyz"),
            key,
            "a",
            (422, "field-invalid"),
        )
        .await;
    platform
        .refuse(
            (Method::POST, "/v1/modules?name=m"),
            key,
            vec![0; 1_001],
            (413, "body-too-large"),
        )
        .await;
    let objects = std::fs::read_dir(platform.dir().join("objects")).unwrap();
    let left: Vec<_> = objects.map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["tmp"]);
    assert_eq!(
        std::fs::read_dir(platform.dir().join("objects/tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn a_module_is_taken_once_and_only_if_nodes_can_run_it() {
    let platform = TestPlatform::start().await;
    let owner = platform.account("owner").await;
    let stranger = platform.account("stranger").await;
    let module = owner.client.push_module("mine", MODULE).await.unwrap();
    assert_eq!(
        (module.name.as_str(), module.world.as_str()),
        ("mine", "task")
    );
    assert_eq!(module.compile_mib, 320);
    assert_eq!(module.digest, digest(MODULE));
    let before = platform.size();
    assert_eq!(
        owner.client.push_module("again", MODULE).await.unwrap(),
        module
    );
    assert_eq!(platform.size(), before);
    assert_eq!(
        owner.client.modules(None).await.unwrap().modules,
        std::slice::from_ref(&module)
    );
    assert_eq!(owner.client.module(&module.digest).await.unwrap(), module);

    let foreign = stranger.client.module(&module.digest);
    platform.refused(foreign, 404, "unknown-module").await;
    let theirs = stranger.client.push_module("theirs", MODULE).await.unwrap();
    assert_eq!(
        (theirs.name.as_str(), &theirs.digest),
        ("theirs", &module.digest),
        "the same bytes are one module, whoever has them"
    );
    assert_eq!(owner.client.module(&module.digest).await.unwrap(), module);
    for (wasm, status, code) in [
        ("nonsense", 422, "not-a-component"),
        ("other module", 422, "wrong-world"),
        ("forbidden module", 422, "forbidden-import"),
        ("endless module", 422, "module-too-complex"),
        ("breaking module", 422, "module-breaks-compiler"),
    ] {
        platform
            .refused(owner.client.push_module("bad", wasm), status, code)
            .await;
    }
    platform
        .refused(
            owner.client.push_module("bad", "unlucky module"),
            503,
            "inspector-unavailable",
        )
        .await;
    platform
        .refused(
            owner.client.push_module("", "task module 2"),
            422,
            "name-invalid",
        )
        .await;
}

#[tokio::test]
async fn contents_are_registered_by_who_has_the_bytes_and_listed_to_all() {
    let platform = TestPlatform::start().await;
    let owner = platform.account("owner").await;
    let stranger = platform.account("stranger").await;
    let blob = owner.client.put_blob(&b"1,2,3"[..]).await.unwrap();
    let request = |version: &str| RegisterContent {
        kind: "dataset".into(),
        name: "digits".into(),
        version: version.into(),
        files: vec![Artifact {
            name: "digits.csv".into(),
            digest: blob.digest.clone(),
            size: blob.size.clone(),
        }],
        licence: "CC-BY-4.0".into(),
        weight: 10,
        price: "0".into(),
        access: Access::Everybody,
        contributors: Vec::new(),
    };
    let content = owner.client.register_content(&request("1")).await.unwrap();
    assert_eq!(
        (content.owner.as_str(), content.weight),
        (owner.id.as_str(), 10)
    );
    owner.client.register_content(&request("2")).await.unwrap();
    let all = stranger
        .client
        .contents(Some("dataset"), Some("digits"), None, None)
        .await
        .unwrap();
    assert_eq!(all.contents.len(), 2);
    let one = stranger
        .client
        .contents(None, None, Some("1"), None)
        .await
        .unwrap();
    assert_eq!(one.contents, std::slice::from_ref(&content));
    let rest = stranger
        .client
        .contents(None, None, None, Some(&content.id))
        .await
        .unwrap();
    assert_eq!(rest.contents[0].version, "2");
    assert_eq!(stranger.client.content(&content.id).await.unwrap(), content);

    platform
        .refused(
            owner.client.register_content(&request("1")),
            409,
            "content-exists",
        )
        .await;
    platform
        .refused(
            stranger.client.register_content(&request("1")),
            404,
            "unknown-blob",
        )
        .await;
    let mut wrong = request("3");
    wrong.files[0].size = "6".into();
    platform
        .refused(
            owner.client.register_content(&wrong),
            422,
            "blob-size-mismatch",
        )
        .await;
    wrong.files[0].size = "six".into();
    let problem = platform
        .refused(owner.client.register_content(&wrong), 422, "field-invalid")
        .await;
    assert_eq!(problem.pointer.as_deref(), Some("/files/0/size"));
    let mut wrong = request("3");
    wrong.weight = 0;
    platform
        .refused(
            owner.client.register_content(&wrong),
            422,
            "content-invalid",
        )
        .await;
    let mut wrong = request("3");
    wrong.kind = "rumour".into();
    let problem = platform
        .refused(owner.client.register_content(&wrong), 422, "field-invalid")
        .await;
    assert_eq!(problem.pointer.as_deref(), Some("/kind"));
    platform
        .refused(owner.client.content("nonsense"), 404, "unknown-content")
        .await;
}
