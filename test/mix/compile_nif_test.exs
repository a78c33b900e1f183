defmodule Mix.Tasks.Compile.PalladionNifTest do
  # The compiler in real `mix` processes, on a small package with a cargo that only writes
  # down how it was called. bin/test does the same with the real one.
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  setup :tmp_dir

  @root Path.expand("../..", __DIR__)
  @library "priv/native/libpalladion.so"
  # What the scripts of Erlang and Elixir call. There is no directory with cargo in it on
  # the PATH of these tests.
  @commands ~w(sh bash env erl elixir mix mkdir cat readlink dirname basename uname expr sed grep)

  setup %{tmp_dir: dir} do
    package = Path.join(dir, "package")

    for file <- ["mix.exs", "mix/compile_nif.exs", "Cargo.toml", "Cargo.lock"] do
      File.mkdir_p!(Path.dirname(Path.join(package, file)))
      File.cp!(Path.join(@root, file), Path.join(package, file))
    end

    for crate <- ~w(cql driver nif testkit) do
      write!(package, "native/#{crate}/Cargo.toml", "[package]")
      write!(package, "native/#{crate}/src/lib.rs", "// #{crate}")
    end

    write!(package, "lib/palladion.ex", "defmodule Palladion do\nend\n")

    bin = Path.join(dir, "bin")
    File.mkdir_p!(bin)

    for name <- @commands, path = executable(name), do: File.ln_s!(path, Path.join(bin, name))

    context = %{package: package, bin: bin, log: Path.join(dir, "cargo.log"), home: dir}
    fake_cargo(context)
    fake_rustc(context, "99.0.0")
    context
  end

  # The very ones of this VM: what PATH has may be a version manager's.
  defp executable("erl"), do: Path.join(:code.root_dir(), "bin/erl")

  defp executable(name) when name in ["elixir", "mix"],
    do: Path.expand("../../bin/#{name}", :code.lib_dir(:elixir))

  defp executable(name), do: System.find_executable(name)

  defp write!(directory, name, content) do
    path = Path.join(directory, name)
    File.mkdir_p!(Path.dirname(path))
    File.write!(path, content)
    path
  end

  defp script!(context, name, lines) do
    path = write!(context.bin, name, "#!/bin/sh\n" <> lines)
    File.chmod!(path, 0o755)
  end

  # --profile is always its fifth argument.
  defp fake_cargo(context) do
    script!(context, "cargo", """
    echo "$@" >> "#{context.log}"
    echo "cargo was here" >&2
    mkdir -p "$CARGO_TARGET_DIR/release" "$CARGO_TARGET_DIR/debug"
    echo "$6 $(cat native/nif/src/lib.rs)" > "$CARGO_TARGET_DIR/release/libpalladion_nif.so"
    echo "$6 $(cat native/nif/src/lib.rs)" > "$CARGO_TARGET_DIR/debug/libpalladion_nif.so"
    """)
  end

  defp fake_rustc(context, version),
    do: script!(context, "rustc", ~s(echo "rustc #{version} \(0123456 2026-01-01\)"\n))

  @clean ~w(CARGO_TARGET_DIR CARGO_BUILD_TARGET RUSTC RUSTFLAGS MIX_BUILD_PATH MIX_BUILD_ROOT
            MIX_EXS MIX_TARGET MIX_DEPS_PATH PALLADION_NIF_PATH PALLADION_NIF_PROFILE)

  defp mix(context, arguments, options \\ []) do
    # No Hex either, whose presence would ask for the optional dependencies.
    home = [{"MIX_HOME", context.home}, {"MIX_ENV", "dev"}, {"PATH", context.bin}]
    env = Enum.map(@clean, &{&1, nil}) ++ home ++ Keyword.get(options, :env, [])

    System.cmd(Path.join(context.bin, "mix"), arguments,
      cd: Keyword.get(options, :in, context.package),
      env: env,
      stderr_to_stdout: true
    )
  end

  defp compile!(context, options \\ []) do
    assert {output, 0} = mix(context, ["compile"], options)
    output
  end

  defp calls(context) do
    case File.read(context.log) do
      {:ok, log} -> String.split(log, "\n", trim: true)
      {:error, :enoent} -> []
    end
  end

  defp installed(project, env \\ "dev"),
    do: File.read!(Path.join([project, "_build", env, "lib/palladion", @library]))

  test "builds once, shows cargo's output, and is then silent", context do
    output = compile!(context)
    assert output =~ "cargo was here"
    assert output =~ "takes minutes"

    assert calls(context) == ["build --locked --package palladion-nif --profile release"]
    assert installed(context.package) == "release // nif\n"

    assert compile!(context) == ""
    assert length(calls(context)) == 1
  end

  test "builds again when a source, the profile or the features changed, and only then",
       context do
    compile!(context)

    # What the library is not made of.
    write!(context.package, "native/testkit/src/lib.rs", "// changed")
    write!(context.package, "native/nif/README.md", "changed")
    File.touch!(Path.join(context.package, "native/nif/src/lib.rs"), {{2040, 1, 1}, {0, 0, 0}})
    compile!(context)
    assert length(calls(context)) == 1

    write!(context.package, "native/nif/src/lib.rs", "// changed")
    refute compile!(context) =~ "takes minutes"
    assert installed(context.package) == "release // changed\n"
    assert length(calls(context)) == 2

    write!(context.package, "native/cql/src/deep/new.rs", "")
    compile!(context)
    assert length(calls(context)) == 3

    compile!(context, env: [{"PALLADION_NIF_PROFILE", "dev"}])
    assert List.last(calls(context)) =~ "--profile dev"
    assert installed(context.package) == "dev // changed\n"

    write!(context.package, "config/config.exs", """
    import Config
    config :palladion, native_features: [:sigv4, "lz4"]
    """)

    compile!(context)

    assert List.last(calls(context)) =~
             ~r/--profile release --no-default-features --features lz4,sigv4$/

    assert length(calls(context)) == 5
    assert compile!(context) == ""
  end

  test "builds again when the library is gone or another one", context do
    compile!(context)
    library = Path.join([context.package, "_build/dev/lib/palladion", @library])

    for break <- [fn -> File.rm!(library) end, fn -> File.write!(library, "another") end] do
      break.()
      compile!(context)
      assert installed(context.package) == "release // nif\n"
    end

    assert length(calls(context)) == 3
  end

  test "a mapped library is replaced, not overwritten", context do
    compile!(context)
    library = Path.join([context.package, "_build/dev/lib/palladion", @library])
    {:ok, mapped} = File.open(library, [:read])

    write!(context.package, "native/nif/src/lib.rs", "// changed")
    compile!(context)

    assert IO.read(mapped, :line) == "release // nif\n"
    assert File.ls!(Path.dirname(library)) == ["libpalladion.so"]
  end

  test "mix clean takes the library away, and the next build brings it back", context do
    compile!(context)
    assert {_, 0} = mix(context, ["clean"])
    refute File.exists?(Path.join([context.package, "_build/dev/lib/palladion", @library]))
    compile!(context)
    assert installed(context.package) == "release // nif\n"
  end

  test "Mix environments share cargo's directory", context do
    compile!(context)
    refute compile!(context, env: [{"MIX_ENV", "prod"}]) =~ "takes minutes"
    assert installed(context.package, "prod") == "release // nif\n"
    assert File.dir?(Path.join(context.package, "_build/palladion_native/release"))
  end

  test "CARGO_TARGET_DIR is cargo's directory", context do
    target = Path.join(context.home, "target")
    compile!(context, env: [{"CARGO_TARGET_DIR", target}])
    assert File.exists?(Path.join(target, "release/libpalladion_nif.so"))
    refute File.exists?(Path.join(context.package, "_build/palladion_native"))
  end

  test "as a path dependency, and in a release, the sources stay as they were", context do
    app = Path.join(context.home, "app")

    write!(app, "mix.exs", """
    defmodule App.MixProject do
      use Mix.Project
      def project, do: [app: :app, version: "1.0.0", deps: [{:palladion, path: "../package"}],
        releases: [app: [include_erts: false]]]
    end
    """)

    write!(app, "lib/app.ex", "defmodule App do\nend\n")
    files = fn -> context.package |> Path.join("**") |> Path.wildcard(match_dot: true) end
    before = files.()

    assert {output, 0} = mix(context, ["release", "--quiet"], in: app)
    assert output =~ "cargo was here"
    assert installed(app) == "release // nif\n"

    assert [library] =
             Path.wildcard(Path.join(app, "_build/dev/rel/app/lib/palladion-*/#{@library}"))

    assert File.read!(library) == "release // nif\n"

    assert compile!(context, in: app) == ""
    assert length(calls(context)) == 1
    assert files.() == before

    write!(context.package, "native/nif/src/lib.rs", "// changed")
    compile!(context, in: app)
    assert installed(app) == "release // changed\n"
  end

  test "PALLADION_NIF_PATH does without cargo", context do
    File.rm!(Path.join(context.bin, "cargo"))
    File.rm!(Path.join(context.bin, "rustc"))
    library = write!(context.home, "elsewhere.so", "built elsewhere")
    env = [{"PALLADION_NIF_PATH", library}]

    compile!(context, env: env)
    assert installed(context.package) == "built elsewhere"
    assert compile!(context, env: env) == ""

    File.write!(library, "built again elsewhere")
    compile!(context, env: env)
    assert installed(context.package) == "built again elsewhere"

    assert {output, 1} = mix(context, ["compile"], env: [{"PALLADION_NIF_PATH", "/none.so"}])
    assert output =~ "PALLADION_NIF_PATH points to /none.so"
  end

  describe "what is missing is told:" do
    defp fails_with(context, text, options \\ []) do
      assert {output, 1} = mix(context, ["compile"], options)
      assert output =~ text
      output
    end

    test "cargo", context do
      File.rm!(Path.join(context.bin, "cargo"))
      output = fails_with(context, "`cargo` was not found on PATH")
      assert output =~ ~r/Install Rust \d+\.\d+\.\d+ or newer, and a C compiler/
    end

    test "rustc", context do
      File.rm!(Path.join(context.bin, "rustc"))
      fails_with(context, "`rustc` was not found on PATH, though `cargo` was")
    end

    test "a new enough rustc", context do
      fake_rustc(context, "1.63.0")
      output = fails_with(context, "rustc is 1.63.0, which is too old")
      assert output =~ "Install Rust"
      assert calls(context) == []
    end

    test "a rustc that works", context do
      script!(context, "rustc", "exit 1\n")
      fails_with(context, "`rustc --version` does not work")
    end

    test "a build that succeeds", context do
      script!(context, "cargo", "echo 'error: no such crate' >&2; exit 101\n")
      output = fails_with(context, "error: no such crate")
      assert output =~ "failed with status 101"

      # It doesn't count as built. What cargo and what Mix write may come in any order.
      assert lines(fails_with(context, "failed with status 101")) == lines(output)
    end

    defp lines(output), do: output |> String.split("\n") |> Enum.sort()

    test "a library", context do
      script!(context, "cargo", "exit 0\n")
      fails_with(context, "cargo made none of")
    end

    test "settings that mean something", context do
      fails_with(context, "PALLADION_NIF_PROFILE is not the name of a cargo profile",
        env: [{"PALLADION_NIF_PROFILE", "../release"}]
      )

      write!(context.package, "config/config.exs", """
      import Config
      config :palladion, native_features: :sigv4
      """)

      fails_with(context, ":native_features must be a list of cargo features")
      assert calls(context) == []
    end
  end
end
