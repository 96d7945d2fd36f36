#!/usr/bin/env bash
# changelog.sh VERSION MAINTAINER: prints Debian's changelog of the packages, gzipped. Its date is
# SOURCE_DATE_EPOCH, or that of the last commit.
set -euo pipefail
cd "$(dirname "$0")"
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
gzip -9n <<TEXT
tandemfs ($1) unstable; urgency=medium

  * What is new in this version: changelog.gz in this directory.

 -- $2  $(LC_ALL=C date -u -R -d "@$date")
TEXT
