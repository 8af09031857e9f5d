# The archives that `cargo publish` would upload. The sets of features that a user can choose are linted from
# these archives, so that a file that an archive lacks is noticed.
# shellcheck shell=bash

# publishable_packages: the names of the members without `publish = false`, one a line.
publishable_packages() {
    local manifest
    for manifest in */Cargo.toml */*/Cargo.toml; do
        [[ -e $manifest && $manifest != target/* ]] || continue
        # The fuzz targets have a workspace of their own.
        grep -qx '\[workspace\]\|publish = false' "$manifest" || sed -n '0,/^name = /s/^name = "\(.*\)"/\1/p' "$manifest"
    done
}

# package_all FOLDER: packs every publishable package, and unpacks all of them into one workspace in FOLDER, where they find each
# other as they would in the registry, and registry dependencies in the versions of our lock file.
package_all() {
    local folder=$1 package archive
    local -a packages options=()
    mapfile -t packages < <(publishable_packages)
    for package in "${packages[@]}"; do options+=(--package "$package"); done
    cargo package --quiet --no-verify --allow-dirty "${options[@]}" || return 1
    rm -rf "$folder"
    mkdir -p "$folder"
    {
        printf '[workspace]\nresolver = "3"\nmembers = ["*-[0-9]*"]\n\n[patch.crates-io]\n'
        for package in "${packages[@]}"; do
            archive=$(archive_of "$package") || return 1
            tar -xzf "$archive" -C "$folder" || return 1
            printf '%s = { path = "%s" }\n' "$package" "$(basename -- "$archive" .crate)"
        done
        # The same settings as in our workspace, so that the dependencies that the tests have compiled are used again.
        sed -n '/^\[profile/,/^$/p' Cargo.toml
    } >"$folder/Cargo.toml"
    cp Cargo.lock "$folder"
    local answer=0
    for package in "${packages[@]}"; do has_what_a_package_needs "$folder" "$package" || answer=1; done
    return "$answer"
}

# archive_of PACKAGE: the archive of its present version.
archive_of() {
    local version
    version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
    local archive=target/package/$1-$version.crate
    [[ -e $archive ]] && printf '%s' "$archive"
}

# has_what_a_package_needs FOLDER PACKAGE: licences, a README, keywords and categories.
has_what_a_package_needs() {
    local home file word answer=0
    home=$(echo "$1/$2"-[0-9]*)
    for file in LICENSE-APACHE LICENSE-MIT README.md; do
        [[ -s $home/$file ]] || { echo "the archive of $2 lacks $file" && answer=1; }
    done
    for word in description license repository readme keywords categories; do
        grep -q "^$word = " "$home/Cargo.toml" || { echo "the manifest of $2 lacks $word" && answer=1; }
    done
    return "$answer"
}

# api_unbroken: compares each library with the last release, where there is one and cargo-semver-checks is installed.
api_unbroken() {
    local release
    release=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null) || {
        echo 'SKIPPED: there is no release yet that the libraries could be compared with'
        return
    }
    cargo semver-checks --version >/dev/null 2>&1 || {
        echo "SKIPPED: the comparison with $release needs cargo-semver-checks (cargo install cargo-semver-checks)"
        return
    }
    cargo semver-checks --baseline-rev "$release" --workspace --exclude benches --exclude examples --exclude test-support
}
