"""What `podium gc` does, over everything of a project, and its JSON."""

from typing import Any

from podium.canary import store as canaries
from podium.execution import remains, retention
from podium.execution.blobs import Blob
from podium.execution.collection import Collector
from podium.registry import store as registry
from podium.wiring.project import Project


def collect(project: Project, *, dry_run: bool) -> dict[str, Any]:
    """Remove what nothing needs any more, and return what it was and what was kept, by the reason."""
    options, now = project.settings, project.clock.now()
    collector = Collector(
        project.database,
        project.blobs,
        project.clock,
        options.retention,
        named=(registry.needed_digests, canaries.needed_digests),
    )
    found = collector.collect(dry_run=dry_run)
    with project.database.read() as connection:
        logs = remains.clear_logs(connection, project.log_folder, now - options.retention, dry_run=dry_run)
        locks = remains.clear_locks(connection, options.home / "locks", now - retention.SETTLING, dry_run=dry_run)
    return {
        "dry_run": dry_run,
        "artifacts": project.blobs.shown,
        "retention": options.artifact_retention,
        "removed": _blobs_document(found.removed),
        "unrecorded": _blobs_document(found.unrecorded),
        "left_behind": found.left_behind._asdict(),
        "logs": logs._asdict(),
        "lock_files": locks,
        "kept": [
            {"reason": reason, "count": count, "size_bytes": found.kept_bytes[reason]}
            for reason, count in sorted(found.kept.items())
        ],
    }


def _blobs_document(blobs: list[Blob]) -> dict[str, Any]:
    return {
        "count": len(blobs),
        "size_bytes": sum(blob.size_bytes for blob in blobs),
        "digests": [blob.digest for blob in blobs],
    }
