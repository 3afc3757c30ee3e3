"""A real Slurm on this computer for the tests: a controller and two nodes that share its folders.

Each node has a network address, a host name, process numbers and a /proc of its own (Linux namespaces), so a
killed node takes all its processes along, as a real one does. GPUs are stand-ins: copies of /dev/null that
Slurm hands out as CUDA_VISIBLE_DEVICES.

Needs root and Debian's packages: ``apt-get install --no-install-recommends slurm-wlm munge iproute2``.
``python tests/slurm_cluster.py FOLDER`` keeps one up until Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("sbatch", "slurmctld", "slurmd", "munged", "ip", "nsenter", "unshare", "setpriv")
NODES = ("mimo-node1", "mimo-node2")
CLUSTER = "mimo-tests"
BRIDGE = "mimo-slurm"
NETWORK = "10.213.77"
# The plugin gives its inner srun no SLURM_CONF, so the files must lie where Slurm looks by itself.
CONFIGURATION = Path("/etc/slurm")

SLURM_CONF = """\
ClusterName={cluster}
SlurmctldHost={host}({network}.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
# There is no systemd here, nor control groups to put jobs into.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
# No accounting; memory is looked at each second, and a job above its own is killed.
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
GresTypes=gpu
# Everything that a cluster takes its time for is quick.
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdTimeout=9
KillWait=1
MinJobAge=3600
ReturnToService=2
{nodes}
PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


def unavailable() -> str | None:
    """Why no Slurm can be started here; None when it can."""
    if os.getuid() != 0:
        return "starting a Slurm needs root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian packages slurm-wlm munge iproute2)"
    if (CONFIGURATION / "slurm.conf").exists() and not left_over(CONFIGURATION / "slurm.conf"):
        return f"{CONFIGURATION}/slurm.conf is there: this computer belongs to a Slurm already"
    spaces = ["unshare", "--net", "--uts", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(spaces, capture_output=True).returncode:
        return "namespaces for nodes are not permitted here"
    return None


def left_over(configuration: Path) -> bool:
    """Whether a configuration is that of an ended test run."""
    ours = f"ClusterName={CLUSTER}\n" in configuration.read_text()
    return ours and subprocess.run(["pgrep", "--exact", "slurmctld"], capture_output=True).returncode == 1


@dataclass(frozen=True)
class Job:
    """What Slurm says of a job."""

    number: str
    state: str
    node: str
    comment: str


class Cluster:
    """A Slurm that is up inside a ``with`` block."""

    def __init__(self, folder: Path, gpus: int = 1):
        """Nothing starts yet.

        Args:
            folder: where its state and logs go; not there yet.
            gpus: stand-in GPUs of each node.
        """
        self.folder = folder
        self.gpus = gpus
        self.daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> Cluster:
        try:
            self._configure()
            self._connect()
            self._start("munged", "munged", "--foreground", "--force", *self._munge_files())
            wait_until(lambda: (self.folder / "munge.socket").exists(), "munged answers")
            self._start("slurmctld", "slurmctld", "-D")
            for node in NODES:
                self.start_node(node)
            wait_until(lambda: self.idle() == set(NODES), "both nodes are idle")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self.daemons)):
            self._kill(name)
        for name in ("slurm.conf", "gres.conf"):
            (CONFIGURATION / name).unlink(missing_ok=True)
        self._disconnect()

    def start_node(self, node: str) -> None:
        """Switch a node on. Its processes live in namespaces that end with it."""
        network = ["nsenter", f"--net=/run/netns/{node}"]
        others = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        # The shell is the first process of the node: it reaps what jobs leave behind.
        daemon = f"hostname {node} && slurmd -D -N {node} & wait"
        self._start(node, *network, *others, "sh", "-c", daemon)

    def kill_node(self, node: str) -> None:
        """Pull a node's plug."""
        self._kill(node)

    def idle(self) -> set[str]:
        """Nodes without work that take some."""
        states = self.ask("sinfo", "--Node", "--noheader", "--format=%N %T").splitlines()
        return {line.split()[0] for line in states if line.split()[1] == "idle"}

    def jobs(self) -> list[Job]:
        """All jobs there were, oldest first."""
        lines = self.ask("squeue", "--states=all", "--noheader", "--format=%i|%T|%N|%k").splitlines()
        return sorted((Job(*line.split("|", 3)) for line in lines), key=lambda job: int(job.number))

    def ask(self, *command: str) -> str:
        """Output of one of Slurm's commands; empty if it fails."""
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

    def _configure(self) -> None:
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        megabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        nodes, gres = [], []
        for number, node in enumerate(NODES):
            nodes.append(
                f"NodeName={node} NodeHostname={node} NodeAddr={NETWORK}.{11 + number} CPUs=2"
                f" RealMemory={megabytes * 9 // 10} Gres=gpu:{self.gpus} State=UNKNOWN"
            )
            for gpu in range(self.gpus):
                device = self.folder / f"{node}-gpu{gpu}"
                os.mknod(device, 0o20666, os.makedev(1, 3))
                gres.append(f"NodeName={node} Name=gpu File={device}")
        values = {"host": socket.gethostname().partition(".")[0], "network": NETWORK, "folder": self.folder}
        values["cluster"] = CLUSTER
        CONFIGURATION.mkdir(exist_ok=True)
        (CONFIGURATION / "gres.conf").write_text("\n".join(gres) + "\n")
        (CONFIGURATION / "slurm.conf").write_text(
            SLURM_CONF.format(**values, nodes="\n".join(nodes), names=",".join(NODES))
        )

    def _connect(self) -> None:
        """Join the nodes' networks and the controller's with a bridge."""
        self._disconnect()
        network(f"link add {BRIDGE} type bridge")
        network(f"addr add {NETWORK}.1/24 dev {BRIDGE}")
        network(f"link set {BRIDGE} up")
        for number, node in enumerate(NODES):
            cable = f"mimo-veth{number}"
            network(f"netns add {node}")
            network(f"link add {cable} type veth peer name eth0 netns {node}")
            network(f"link set {cable} master {BRIDGE} up")
            network(f"-n {node} addr add {NETWORK}.{11 + number}/24 dev eth0")
            network(f"-n {node} link set eth0 up")
            network(f"-n {node} link set lo up")

    def _disconnect(self) -> None:
        """Remove the networks, also those that a killed test run left."""
        for node in NODES:
            subprocess.run(["ip", "netns", "delete", node], capture_output=True)
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True)

    def _munge_files(self) -> list[str]:
        files = ["--socket", "--key-file", "--pid-file", "--log-file", "--seed-file"]
        return [f"{option}={self.folder}/munge.{option[2:].removesuffix('-file')}" for option in files]

    def _start(self, name: str, *command: str) -> None:
        """Start a daemon that ends with this process, however that ends."""
        with (self.folder / f"{name}.out").open("a") as out:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command], stdout=out, stderr=out, start_new_session=True
            )

    def _kill(self, name: str) -> None:
        daemon = self.daemons.pop(name)
        daemon.kill()
        daemon.wait()


def network(command: str) -> None:
    """Run ``ip``; its message is the error's."""
    done = subprocess.run(["ip", *command.split()], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {command}: {done.stderr}")


def wait_until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Look again and again until something is true.

    Raises:
        TimeoutError: it did not become true.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for: {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if reason := unavailable():
        raise SystemExit(reason)
    with Cluster(Path(sys.argv[1]).absolute()), suppress(KeyboardInterrupt):
        print("Slurm is up; Ctrl-C ends it", flush=True)
        signal.pause()
