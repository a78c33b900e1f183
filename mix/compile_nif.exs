defmodule Mix.Tasks.Compile.PalladionNif do
  @shortdoc "Builds Palladion's native library with cargo"

  @moduledoc """
  The Mix compiler that builds Palladion's native library and puts it into the
  application's `priv/native`, for the package itself, as a dependency and in a
  release.

  It starts cargo only when something changed since the last build: a Rust source, a
  manifest, a setting below, or the installed library.

  | setting | meaning | default |
  |---|---|---|
  | `config :palladion, native_features: [:"nif-timing"]` | cargo features, instead of the default ones (in `config/config.exs`: it is read at compile time) | the default features |
  | `PALLADION_NIF_PATH` | a library built elsewhere: it is copied and cargo is not needed | |
  | `PALLADION_NIF_PROFILE` | cargo profile: `release`, `dev` or one of your own | `release` |
  | `CARGO_TARGET_DIR` | where cargo builds | `_build/palladion_native`, shared by all Mix environments |
  | `CARGO_BUILD_TARGET` | target triple, for cross compilation | the host's |

  `mix clean` removes the library. Cargo's own output stays, for it takes minutes to
  make again; it goes with `_build`.
  """

  use Mix.Task.Compiler

  @root Path.expand("..", __DIR__)
  @package "palladion-nif"
  @crate_library "libpalladion_nif"
  # The BEAM looks for .so on every Unix, macOS included.
  @installed_library "libpalladion.so"
  # The testkit is left out: it is a member of the workspace, but not in the library.
  @sources [
    "Cargo.{toml,lock}",
    ".cargo/config.toml",
    "rust-toolchain{,.toml}",
    "native/{cql,driver,nif}/{Cargo.toml,build.rs}",
    "native/{cql,driver,nif}/src/**/*"
  ]

  @impl true
  def run(args) do
    with {:ok, settings} <- settings(),
         stamp = stamp(settings),
         :stale <- freshness(stamp, "--force" in args),
         {:ok, built} <- build(settings),
         :ok <- install(built) do
      write_manifest(stamp)
      {:ok, []}
    else
      :fresh -> {:noop, []}
      {:error, message} -> failed(message)
    end
  end

  @impl true
  def manifests, do: [manifest()]

  @impl true
  def clean do
    File.rm(installed_path())
    # The directory goes too, unless something else is in it.
    File.rmdir(Path.dirname(installed_path()))
    File.rm(manifest())
    :ok
  end

  # Settings

  defp settings do
    with {:ok, profile} <- profile(env("PALLADION_NIF_PROFILE") || "release"),
         {:ok, features} <- features(Application.get_env(:palladion, :native_features)) do
      {:ok,
       %{
         prebuilt: env("PALLADION_NIF_PATH"),
         profile: profile,
         features: features,
         target_dir: Path.expand(env("CARGO_TARGET_DIR") || default_target_dir()),
         triple: env("CARGO_BUILD_TARGET"),
         rustflags: env("RUSTFLAGS")
       }}
    end
  end

  defp default_target_dir, do: Path.join([Mix.Project.build_path(), "..", "palladion_native"])

  defp profile(name) do
    if name =~ ~r/\A[A-Za-z0-9_-]+\z/ do
      {:ok, name}
    else
      {:error,
       "PALLADION_NIF_PROFILE is not the name of a cargo profile: #{inspect(name)}. " <>
         "Set it to release or dev, or unset it."}
    end
  end

  defp features(nil), do: {:ok, nil}

  defp features(list) do
    names = if is_list(list), do: Enum.map(list, &feature_name/1), else: [nil]

    if Enum.all?(names) do
      {:ok, Enum.sort(names)}
    else
      {:error,
       "config :palladion, :native_features must be a list of cargo features, such as " <>
         "[:\"nif-timing\"], got: #{inspect(list)}"}
    end
  end

  defp feature_name(name) when (is_atom(name) and name != nil) or is_binary(name) do
    name = to_string(name)
    if name =~ ~r/\A[A-Za-z0-9_+-]+\z/, do: name
  end

  defp feature_name(_other), do: nil

  # Environment variables that are set but empty count as unset.
  defp env(name) do
    case System.get_env(name) do
      empty when empty in [nil, ""] -> nil
      value -> value
    end
  end

  # Freshness: the stamp says what the library was made of, the fingerprint which file
  # was installed (an installed file that another environment replaced is not ours).

  defp freshness(_stamp, true = _force), do: :stale

  defp freshness(stamp, false) do
    with {:ok, recorded} <- File.read(manifest()),
         {:ok, fingerprint} <- fingerprint(installed_path()),
         true <- recorded == stamp <> "\n" <> fingerprint do
      :fresh
    else
      _ -> :stale
    end
  end

  defp write_manifest(stamp) do
    {:ok, fingerprint} = fingerprint(installed_path())
    File.mkdir_p!(Path.dirname(manifest()))
    File.write!(manifest(), stamp <> "\n" <> fingerprint)
  end

  defp manifest, do: Path.join(Mix.Project.manifest_path(), "compile.palladion_nif")

  defp stamp(%{prebuilt: nil} = settings) do
    digests = for path <- sources(), do: [Path.relative_to(path, @root), 0, digest(path)]
    hash([:erlang.term_to_binary(Map.to_list(settings)), digests])
  end

  defp stamp(%{prebuilt: path}) do
    case fingerprint(path) do
      {:ok, fingerprint} -> hash([path, 0, fingerprint])
      :error -> hash([path])
    end
  end

  defp sources do
    @sources
    |> Enum.flat_map(&Path.wildcard(Path.join(@root, &1), match_dot: true))
    |> Enum.filter(&File.regular?/1)
    |> Enum.sort()
  end

  defp digest(path), do: path |> File.read!() |> hash()
  defp hash(data), do: Base.encode16(:crypto.hash(:sha256, data), case: :lower)

  defp fingerprint(path) do
    case File.stat(path, time: :posix) do
      {:ok, %{type: :regular} = stat} -> {:ok, "#{stat.size} #{stat.mtime} #{stat.inode}"}
      _ -> :error
    end
  end

  # Building

  defp build(%{prebuilt: nil} = settings) do
    with {:ok, cargo} <- find_cargo(),
         :ok <- check_rustc(),
         :ok <- cargo_build(cargo, settings) do
      built_library(settings)
    end
  end

  defp build(%{prebuilt: path}) do
    if File.regular?(path) do
      {:ok, path}
    else
      {:error,
       "PALLADION_NIF_PATH points to #{path}, and no file is there. Build it with\n\n" <>
         "    cargo build --release --locked -p #{@package}\n\n" <>
         "or unset the variable to have it built here."}
    end
  end

  defp cargo_build(cargo, settings) do
    announce(settings)

    args =
      ["build", "--locked", "--package", @package, "--profile", settings.profile] ++
        feature_args(settings.features)

    # Standard error is the terminal's own: cargo draws its progress there.
    options = [
      cd: @root,
      into: IO.stream(),
      env: [{"CARGO_TARGET_DIR", settings.target_dir}]
    ]

    case System.cmd(cargo, args, options) do
      {_, 0} -> :ok
      {_, status} -> {:error, "cargo #{Enum.join(args, " ")} failed with status #{status}"}
    end
  end

  defp announce(settings) do
    Mix.shell().info("Compiling palladion's native library (cargo profile #{settings.profile})")

    unless File.dir?(output_dir(settings)) do
      Mix.shell().info(
        "The first build compiles its cryptography and takes minutes; later ones take seconds."
      )
    end
  end

  defp feature_args(nil), do: []
  defp feature_args([]), do: ["--no-default-features"]
  defp feature_args(names), do: ["--no-default-features", "--features", Enum.join(names, ",")]

  defp built_library(settings) do
    candidates =
      for extension <- ~w(so dylib),
          do: Path.join(output_dir(settings), "#{@crate_library}.#{extension}")

    case Enum.find(candidates, &File.regular?/1) do
      nil -> {:error, "cargo made none of: #{Enum.join(candidates, ", ")}"}
      path -> {:ok, path}
    end
  end

  defp output_dir(settings) do
    directory =
      case settings.profile do
        profile when profile in ["dev", "test"] -> "debug"
        "bench" -> "release"
        profile -> profile
      end

    Path.join([settings.target_dir, settings.triple || "", directory])
  end

  # A VM may have the old library mapped, and other builds may run beside this one: the
  # new file is written under a name of its own and then takes the old one's place.
  defp install(built) do
    target = installed_path()
    temporary = "#{target}.#{System.pid()}.tmp"
    drop_dangling_link(Path.dirname(Path.dirname(target)))
    File.mkdir_p!(Path.dirname(target))
    File.rm(temporary)
    File.cp!(built, temporary)
    File.chmod!(temporary, 0o755)
    File.rename!(temporary, target)
  end

  # Mix links priv to the sources' priv when there is one; there no longer is.
  defp drop_dangling_link(priv) do
    if match?({:ok, _}, File.read_link(priv)) and not File.exists?(priv), do: File.rm!(priv)
  end

  defp installed_path do
    Path.join([Mix.Project.app_path(), "priv", "native", @installed_library])
  end

  # What must be installed

  defp find_cargo do
    case System.find_executable("cargo") do
      nil -> {:error, install_advice("`cargo` was not found on PATH")}
      path -> {:ok, path}
    end
  end

  # In the package's directory, where a rust-toolchain file or an override counts.
  defp check_rustc do
    rustc = env("RUSTC") || "rustc"

    with path when is_binary(path) <- System.find_executable(rustc),
         {output, 0} <- System.cmd(path, ["--version"], cd: @root, stderr_to_stdout: true),
         [_, found] <- Regex.run(~r/\Arustc (\d+\.\d+\.\d+)/, output) do
      if parse_version(found) >= parse_version(required_rust()),
        do: :ok,
        else: {:error, install_advice("rustc is #{found}, which is too old")}
    else
      nil -> {:error, install_advice("`rustc` was not found on PATH, though `cargo` was")}
      _ -> {:error, install_advice("`#{rustc} --version` does not work")}
    end
  end

  defp parse_version(text), do: text |> String.split(".") |> Enum.map(&String.to_integer/1)

  defp required_rust do
    manifest = File.read!(Path.join(@root, "Cargo.toml"))
    [_, version] = Regex.run(~r/^rust-version = "([\d.]+)"/m, manifest)
    version
  end

  defp install_advice(finding) do
    """
    Palladion has a part written in Rust, and #{finding}.

    Install Rust #{required_rust()} or newer, and a C compiler:

        Rust           https://rustup.rs, then: rustup update stable
        C compiler     Debian, Ubuntu: apt install build-essential
                       macOS: xcode-select --install

    Distributions' own Rust is often too old. If the right one is installed, put its
    directory (rustup's is ~/.cargo/bin) first on PATH. A machine that must do without
    Rust can be given a library built elsewhere: PALLADION_NIF_PATH=/path/to/#{@crate_library}.so
    """
  end

  defp failed(message) do
    Mix.shell().error(message)

    diagnostic = %Mix.Task.Compiler.Diagnostic{
      file: Path.join(@root, "Cargo.toml"),
      severity: :error,
      message: message,
      position: 0,
      compiler_name: "palladion_nif"
    }

    {:error, [diagnostic]}
  end
end
