# The features of the workspace, read from its manifests, so that a new one is tested without being named here.
# shellcheck shell=bash

# workspace_features EXCEPT: as package/feature, separated by commas, without the names that match EXCEPT whole.
workspace_features() {
    all_workspace_features | grep -Ev "/($1)\$" | paste -sd,
}

# workspace_features_named NAME: the packages that have it, as package/NAME.
workspace_features_named() {
    all_workspace_features | grep "/$1\$" | paste -sd,
}

all_workspace_features() {
    local manifest
    for manifest in */Cargo.toml */*/Cargo.toml; do
        [[ -e $manifest && $manifest != target/* ]] || continue
        awk '
            /^\[/ { section = $0 }
            section == "[package]" && $1 == "name" { gsub(/"/, "", $3); package = $3 }
            section == "[features]" && /^[a-z]/ { print package "/" $1 }
        ' "$manifest"
    done
}
