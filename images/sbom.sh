#!/bin/sh
# sbom.sh TITLE VERSION: writes the bill of materials of the image that it runs in to /usr/share/sbom/TITLE.spdx.json,
# SPDX 2.3. Last step of each image.
#
# Listed is what the package managers know: dpkg's or rpm's packages, Python packages outside of the distribution's
# directories, and a Python that no package brought. Libraries inside a wheel are in the wheel's own bill (PEP 770),
# which the entry's comment names. Licenses are given where the metadata have an SPDX expression.
set -eu
export LC_ALL=C
title=$1 version=$2
directory=/usr/share/sbom

distribution() { # ID or VERSION_ID of os-release
    sed -n "s/^$1=//p" /etc/os-release | tr -d '"'
}

# Tab-separated: type, purl namespace, name, version, architecture, license, comment.
system_packages() {
    if command -v dpkg-query >/dev/null; then
        dpkg-query --show --showformat '${db:Status-Abbrev}\tdeb\t@\t${Package}\t${Version}\t${Architecture}\t\t\n' |
            sed -n 's/^ii *\t//p'
    else
        rpm -qa --queryformat 'rpm\t@\t%{NAME}\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\t%{ARCH}\t\t\n'
    fi | sed "s/@/$(distribution ID)/"
}

python_packages() {
    find /opt /usr/local -xdev -path '*.dist-info/METADATA' -type f | sort | while IFS= read -r metadata; do
        bills=$(find "${metadata%/METADATA}/sboms" -type f 2>/dev/null | sort | tr '\n' ' ')
        awk -v bills="$bills" '
            /^$/ { exit }
            /^Name: / { name = tolower($2); gsub(/[-_.]+/, "-", name) }
            /^Version: / { version = $2 }
            /^License-Expression: / { license = substr($0, 21) }
            END { printf "pypi\t\t%s\t%s\t\t%s\t%s\n", name, version, license, bills ? "bundled libraries: " bills : "" }
        ' "$metadata"
    done
    if [ -x /usr/local/bin/python3 ]; then
        printf 'generic\t\tpython\t%s\t\tPython-2.0.1\t\n' "$(/usr/local/bin/python3 -c 'import platform; print(platform.python_version())')"
    fi
}

packages=$({ system_packages; python_packages; } | sort -u)
created=$(date -u ${SOURCE_DATE_EPOCH:+-d "@$SOURCE_DATE_EPOCH"} +%Y-%m-%dT%H:%M:%SZ)
digest=$(printf '%s' "$packages" | sha256sum | cut -c1-32)
mkdir -p "$directory"
printf '%s\n' "$packages" | awk -F'\t' -v title="$title" -v version="$version" -v created="$created" -v digest="$digest" \
    -v distro="$(distribution ID)-$(distribution VERSION_ID)" '
function quoted(text) { gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text); return "\"" text "\"" }
function encoded(text) { gsub(/%/, "%25", text); gsub(/\+/, "%2B", text); gsub(/:/, "%3A", text); gsub(/ /, "%20", text); return text }
function entry(id, name, version, license, more) {
    printf "  {\"SPDXID\": %s, \"name\": %s, \"versionInfo\": %s, \"downloadLocation\": \"NOASSERTION\", " \
        "\"filesAnalyzed\": false, \"licenseConcluded\": \"NOASSERTION\", \"licenseDeclared\": %s, " \
        "\"copyrightText\": \"NOASSERTION\"%s}", \
        quoted(id), quoted(name), quoted(version), quoted(license ? license : "NOASSERTION"), more
}
BEGIN {
    printf "{\"spdxVersion\": \"SPDX-2.3\", \"dataLicense\": \"CC0-1.0\", \"SPDXID\": \"SPDXRef-DOCUMENT\",\n"
    printf " \"name\": %s, \"documentNamespace\": %s,\n", quoted(title), quoted("https://spdx.org/spdxdocs/" title "-" digest)
    printf " \"creationInfo\": {\"created\": %s, \"creators\": [\"Tool: copr-operator-sbom.sh\"]},\n", quoted(created)
    printf " \"packages\": [\n"
    entry("SPDXRef-Image", title, version, "", ", \"primaryPackagePurpose\": \"CONTAINER\"")
}
{
    query = ""
    if ($5) query = "?arch=" $5 "&distro=" encoded(distro)
    purl = "pkg:" $1 "/" ($2 ? $2 "/" : "") encoded($3) "@" encoded($4) query
    more = sprintf(", \"externalRefs\": [{\"referenceCategory\": \"PACKAGE-MANAGER\", \"referenceType\": \"purl\", \"referenceLocator\": %s}]", quoted(purl))
    if ($7) more = more sprintf(", \"comment\": %s", quoted($7))
    printf ",\n"
    entry("SPDXRef-Package-" NR, $3, $4, $6, more)
}
END {
    printf "\n ],\n \"relationships\": [\n"
    printf "  {\"spdxElementId\": \"SPDXRef-DOCUMENT\", \"relationshipType\": \"DESCRIBES\", \"relatedSpdxElement\": \"SPDXRef-Image\"}"
    for (i = 1; i <= NR; i++)
        printf ",\n  {\"spdxElementId\": \"SPDXRef-Image\", \"relationshipType\": \"CONTAINS\", \"relatedSpdxElement\": \"SPDXRef-Package-%d\"}", i
    printf "\n ]}\n"
}' >"$directory/$title.spdx.json"
