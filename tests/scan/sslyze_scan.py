"""One scan by sslyze, run by sslyze's own Python: `scan.py` starts it.

    python sslyze_scan.py CONFIGURATION PORT CA CERTIFICATE KEY

Prints one JSON object: what of Mozilla's CONFIGURATION (``intermediate`` or ``modern``) is not
met, each criterion with a sentence; and of sslyze's report what Mozilla says nothing about.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sslyze import (
    CertificateInfoExtraArgument,
    ClientAuthenticationCredentials,
    ScanCommand,
    ScanCommandsExtraArguments,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
    ServerScanStatusEnum,
)
from sslyze.mozilla_tls_profile.tls_config_checker import (
    SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER,
    MozillaTlsConfiguration,
    ServerNotCompliantWithTlsConfiguration,
    ServerScanResultIncomplete,
    TlsConfigurationEnum,
    check_server_against_tls_configuration,
)


def scan(
    configuration: str, port: int, ca: Path, certificate: Path, key: Path
) -> dict[str, object]:
    """Scan one port of this machine and give what `scan.py` judges."""
    request = ServerScanRequest(
        server_location=ServerNetworkLocation("localhost", port, "127.0.0.1"),
        network_configuration=ServerNetworkConfiguration(
            tls_server_name_indication="localhost",
            tls_client_auth_credentials=ClientAuthenticationCredentials(certificate, key),
        ),
        scan_commands={
            *SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER,
            ScanCommand.TLS_1_3_EARLY_DATA,
            ScanCommand.SESSION_RESUMPTION,
        },
        scan_commands_extra_arguments=ScanCommandsExtraArguments(
            certificate_info=CertificateInfoExtraArgument(custom_ca_file=ca)
        ),
    )
    scanner = Scanner()
    scanner.queue_scans([request])
    (server,) = scanner.get_results()
    if server.scan_status is not ServerScanStatusEnum.COMPLETED:
        return {"complete": False}
    issues = {}
    try:
        check_server_against_tls_configuration(
            server_scan_result=server,
            tls_config_to_check_against=MozillaTlsConfiguration.get(
                TlsConfigurationEnum(configuration)
            ),
        )
    except ServerNotCompliantWithTlsConfiguration as failure:
        issues = dict(failure.issues)
    except ServerScanResultIncomplete as failure:
        return {"complete": False, "reason": str(failure)}
    found = server.scan_result
    early, resumed = found.tls_1_3_early_data.result, found.session_resumption.result
    deployments = found.certificate_info.result.certificate_deployments
    return {
        "complete": True,
        "issues": issues,
        # sslyze asks for that by HTTP, which peers do not speak; without tickets there is none.
        "early_data": early is not None and early.supports_early_data,
        "resumed": {
            "by session": getattr(resumed, "session_id_successful_resumptions_count", None),
            "by ticket": getattr(resumed, "tls_ticket_successful_resumptions_count", None),
        },
        "trusted": all(
            any(
                each.was_validation_successful and each.trust_store.path == ca
                for each in deployment.path_validation_results
            )
            for deployment in deployments
        ),
    }


if __name__ == "__main__":
    wanted, number, *paths = sys.argv[1:]
    print(json.dumps(scan(wanted, int(number), *map(Path, paths))))
