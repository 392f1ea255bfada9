# pack.py NAME ROOT CMD...: packs a directory as an OCI image of one layer and writes it to stdout as a tar that
# `ctr images import` reads. The same directory gives the same bytes: owners are root, times are 0, names are sorted.

import hashlib
import io
import json
import os
import platform
import sys
import tarfile
import tempfile

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def layer(root, out):
    """Writes the directory as a tar."""

    def owned_by_root(entry):
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(os.listdir(root)):
            tar.add(os.path.join(root, name), name, filter=owned_by_root)


def main():
    name, root, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    with tempfile.TemporaryFile() as rootfs:
        layer(root, rootfs)
        size = rootfs.tell()
        rootfs.seek(0)
        digest = hashlib.sha256()
        while chunk := rootfs.read(1 << 20):
            digest.update(chunk)
        rootfs.seek(0)

        blobs = {}

        def blob(media_type, document):
            body = json.dumps(document, sort_keys=True).encode()
            digest = hashlib.sha256(body).hexdigest()
            blobs[digest] = body
            return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(body)}

        config = {
            "architecture": MACHINES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Cmd": command, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest.hexdigest()]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob("application/vnd.oci.image.config.v1+json", config),
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": "sha256:" + digest.hexdigest(),
                    "size": size,
                }
            ],
        }
        entry = blob(manifest["mediaType"], manifest)
        entry["annotations"] = {"io.containerd.image.name": name}
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        }

        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as image:

            def add(path, size, content):
                member = tarfile.TarInfo(path)
                member.size = size
                image.addfile(member, content)

            for path, document in [("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)]:
                body = json.dumps(document, sort_keys=True).encode()
                add(path, len(body), io.BytesIO(body))
            for sha, body in sorted(blobs.items()):
                add("blobs/sha256/" + sha, len(body), io.BytesIO(body))
            add("blobs/sha256/" + digest.hexdigest(), size, rootfs)


main()
