# SPDX-License-Identifier: Apache-2.0
# Sourced after stage.sh by the checks that use containerd: a containerd with the runtime under three names (runc in its PATH,
# BinaryName of the CRI's runtime handler "under-test", what a caller of ctr gives) and the image localhost/box:latest.
# It must not check anything but that.

mkdir "$work/bin" "$work/cni"
ln -s "$runtime" "$work/bin/runc"
plugins=/usr/lib/cni
cat >"$work/cni/10-bridge.conflist" <<CONF
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "$work/addresses", "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
CONF
cat >"$work/config.toml" <<CONF
version = 2
root = "$work/root"
state = "/run/containerd-state"
[grpc]
address = "/run/containerd.sock"
[ttrpc]
address = "/run/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/box:latest"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "$plugins"
conf_dir = "$work/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.under-test]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.under-test.options]
BinaryName = "$runtime"
SystemdCgroup = false
CONF
PATH=$work/bin:$PATH containerd --config "$work/config.toml" >"$work/containerd.log" 2>&1 </dev/null &
daemon=$!
ctr() { command ctr --address /run/containerd.sock --namespace "$namespace" "$@"; }
export -f ctr
export work runtime parent rootfs namespace
echo "$(containerd --version), $("$runtime" --version | head -n 1)"
if ! wait_for 30 ctr version; then
    fail "containerd starts" "$(tail -n 3 "$work/containerd.log")"
    finish
fi

mkdir "$work/image"
cp "$work/rootfs.tar" "$work/image/layer.tar"
case $(uname -m) in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) machine=$(uname -m) ;; esac
cat >"$work/image/config.json" <<JSON
{"architecture": "$machine", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum <"$work/rootfs.tar" | cut -d ' ' -f 1)"]}}
JSON
echo '[{"Config": "config.json", "RepoTags": ["localhost/box:latest"], "Layers": ["layer.tar"]}]' >"$work/image/manifest.json"
tar -C "$work/image" -cf "$work/image.tar" manifest.json config.json layer.tar
check "image import" 0 'localhost/box' 'ctr image import --snapshotter native $work/image.tar && ctr image ls -q'
