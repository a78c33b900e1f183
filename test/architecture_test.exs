defmodule Palladion.ArchitectureTest do
  @moduledoc """
  Who may know whom, as ARCHITECTURE.md draws it.
  """

  use ExUnit.Case, async: true

  @root Path.expand("..", __DIR__)
  @longest_file 600

  describe "Elixir:" do
    # Whom each may name beside the leaves. All other modules are leaves: configuration, errors,
    # results, and what else users hold or write.
    @may_name %{
      "Palladion" => ~w(Cluster PageStream Request Schema Trace),
      "Palladion.Application" => ~w(Native),
      "Palladion.Cluster" =>
        ~w(Cluster.Authenticators Cluster.Certificates Cluster.NodeTable Cluster.Server) ++
          ~w(Cluster.Topology Application Native),
      "Palladion.Cluster.Authenticators" => ~w(Cluster.Conversation Cluster.NodeTable Native),
      "Palladion.Cluster.Certificates" =>
        ~w(Cluster.Certificates.Expiry Cluster.NodeTable Native),
      # It computes.
      "Palladion.Cluster.Certificates.Expiry" => [],
      # It is told how to answer.
      "Palladion.Cluster.Conversation" => [],
      "Palladion.Cluster.NodeTable" => [],
      "Palladion.Cluster.Pauses" => ~w(Native),
      "Palladion.Cluster.Server" =>
        ~w(Cluster.Certificates Cluster.Pauses Cluster.Signals Native),
      "Palladion.Cluster.Signals" => ~w(Cluster.NodeTable),
      "Palladion.Cluster.Topology" =>
        ~w(Cluster.NodeTable Cluster.Topology.Callbacks Cluster.Topology.State Native),
      # Both decide and check, and do nothing else: neither knows a process or a handle.
      "Palladion.Cluster.Topology.Callbacks" => [],
      "Palladion.Cluster.Topology.State" => [],
      "Palladion.Request" =>
        ~w(Cluster Native Request.Report Request.Retry Request.SchemaAgreement Request.Status),
      "Palladion.Request.Report" => ~w(Cluster.NodeTable),
      "Palladion.Request.Retry" => ~w(Request.Report),
      "Palladion.Request.SchemaAgreement" => ~w(Cluster.NodeTable),
      "Palladion.Request.Status" => ~w(Cluster.NodeTable Native),
      "Palladion.PageStream" => ~w(Request),
      "Palladion.Schema" => ~w(Schema.Reader),
      "Palladion.Schema.Reader" => ~w(Request),
      "Palladion.Trace" => ~w(Trace.Reader),
      "Palladion.Trace.Reader" => ~w(Request),
      "Palladion.Doctor" => ~w(Cluster.Authenticators Doctor.Probes Native),
      "Palladion.Doctor.Probes" => ~w(Application),
      "Mix.Tasks.Palladion.Doctor" => ~w(Doctor),
      "Palladion.Native" => []
    }

    # A secret goes into the native library where it comes in, and a keystore is read there, and
    # AWS's configuration file.
    @leaves_may_name %{
      "Palladion.Config.Auth.SigV4" => ~w(Native),
      "Palladion.Config.Pkcs12" => ~w(Native),
      "Palladion.Config.Region" => ~w(Native),
      "Palladion.Secret" => ~w(Native)
    }

    test "modules name each other in one direction" do
      for {module, named} <- modules(), other <- named, not leaf?(other) do
        rule = Map.get(@may_name, module) || Map.get(@leaves_may_name, module, [])
        allowed = Enum.map(rule, &("Palladion." <> &1))
        assert other in allowed, "#{module} must not name #{other}"
      end
    end

    test "none names itself by way of others" do
      graph = :digraph.new()
      modules = modules()
      for {module, _named} <- modules, do: :digraph.add_vertex(graph, module)
      for {module, named} <- modules, other <- named, do: :digraph.add_edge(graph, module, other)
      assert :digraph_utils.cyclic_strong_components(graph) == []
    end

    test "the rules are about modules that there are, and need all that they allow" do
      modules = Map.new(modules())

      for {module, allowed} <- Map.merge(@may_name, @leaves_may_name), other <- allowed do
        assert ("Palladion." <> other) in Map.fetch!(modules, module)
      end
    end

    defp leaf?(module), do: not is_map_key(@may_name, module)

    # `{module, modules of ours that its code names}`; a file has one.
    defp modules do
      for file <- files("lib/**/*.ex") do
        ast = file |> File.read!() |> Code.string_to_quoted!(file: file)
        {:ok, module} = first_module(ast)
        {module, ast |> named() |> Enum.reject(&(&1 == module))}
      end
    end

    defp first_module(ast) do
      {_ast, name} =
        Macro.prewalk(ast, :none, fn
          {kind, _, [{:__aliases__, _, parts} | _]}, :none
          when kind in [:defmodule, :defprotocol] ->
            {nil, {:ok, Enum.join(parts, ".")}}

          other, name ->
            {other, name}
        end)

      name
    end

    @types [:spec, :type, :typep, :opaque, :callback]

    defp named(ast) do
      aliases = aliases(ast)

      {_ast, named} =
        Macro.prewalk(ast, MapSet.new(), fn
          # Types name what is above them, too: that is no dependency of the code.
          {:@, _, [{type, _, _}]}, named when type in @types ->
            {nil, named}

          {:alias, _, _}, named ->
            {nil, named}

          {{:., _, [{:__aliases__, _, [:Palladion]}, _function]}, _, arguments}, named ->
            {arguments, MapSet.put(named, "Palladion")}

          # Without a call it is a name like any other: the key of a table.
          {:__aliases__, _, [:Palladion]}, named ->
            {nil, named}

          {:__aliases__, _, parts} = name, named ->
            {name, named |> MapSet.union(expand(parts, aliases))}

          other, named ->
            {other, named}
        end)

      MapSet.to_list(named)
    end

    defp expand([first | rest] = parts, aliases) do
      cond do
        not is_atom(first) -> MapSet.new()
        first == :Palladion -> MapSet.new([Enum.join(parts, ".")])
        known = aliases[first] -> MapSet.new([Enum.join(known ++ rest, ".")])
        true -> MapSet.new()
      end
    end

    defp aliases(ast) do
      {_ast, aliases} =
        Macro.prewalk(ast, %{}, fn
          {:alias, _, [{{:., _, [{:__aliases__, _, base}, :{}]}, _, many} | _]} = node, aliases ->
            names = for {:__aliases__, _, parts} <- many, do: {List.last(parts), base ++ parts}
            {node, Map.merge(aliases, Map.new(names))}

          {:alias, _, [{:__aliases__, _, parts}, [as: {:__aliases__, _, [name]}]]} = node,
          aliases ->
            {node, Map.put(aliases, name, parts)}

          {:alias, _, [{:__aliases__, _, parts} | _]} = node, aliases ->
            {node, Map.put(aliases, List.last(parts), parts)}

          other, aliases ->
            {other, aliases}
        end)

      Map.filter(aliases, fn {_name, [first | _]} -> first == :Palladion end)
    end
  end

  describe "Rust:" do
    @crates %{
      "cql" => [],
      "driver" => ["cql"],
      "nif" => ["cql", "driver"],
      "testkit" => ["cql"]
    }

    test "crates depend on each other in one direction" do
      for {crate, allowed} <- @crates do
        ours = for "palladion-" <> name <- dependencies(crate, "dependencies"), do: name
        assert Enum.sort(ours) == allowed, "native/#{crate}"
      end
    end

    test "only tests use the testkit" do
      assert "palladion-testkit" in dependencies("driver", "dev-dependencies")
      for crate <- ["cql", "nif"], do: refute("palladion-testkit" in all_dependencies(crate))
    end

    test "the protocol does no I/O, and only the NIFs know the BEAM" do
      io = ~w(tokio tokio-rustls rustls mio socket2)
      for dependency <- io, do: refute(dependency in all_dependencies("cql"))
      for crate <- ~w(cql driver testkit), do: refute("rustler" in all_dependencies(crate))
    end

    test "versions and lints stand in the root manifest alone" do
      for crate <- Map.keys(@crates) do
        manifest = manifest(crate)
        assert manifest =~ ~r/^version\.workspace = true$/m, "native/#{crate}"

        for line <- dependency_lines(crate) do
          assert line =~ ~r/workspace = true/, "native/#{crate}: #{line}"
        end
      end
    end

    test "all members of the workspace are known here" do
      [_, members] =
        Regex.run(~r/^members = \[(.*)\]$/m, File.read!(Path.join(@root, "Cargo.toml")))

      assert members |> String.split(~r/[", ]+/, trim: true) |> Enum.sort() ==
               Enum.map(Map.keys(@crates), &"native/#{&1}")
    end

    test "code that is unsafe stands in native/nif alone, where there is any" do
      assert File.read!(Path.join(@root, "Cargo.toml")) =~ ~r/^unsafe_code = "forbid"$/m

      for crate <- Map.keys(@crates) -- ["nif"] do
        assert manifest(crate) =~ ~r/^\[lints\]\nworkspace = true$/m, "native/#{crate}"

        for file <- files("native/#{crate}/**/*.rs"), line <- code_lines(file) do
          refute line =~ ~r/\bunsafe\b/, "#{Path.relative_to(file, @root)}: #{line}"
        end
      end
    end

    # Sessions and their tickets above all stay in memory.
    test "no file is written but the log of keys" do
      writers =
        for crate <- ["cql", "driver", "nif"],
            file <- files("native/#{crate}/src/**/*.rs"),
            Enum.any?(code_lines(file), &(&1 =~ ~r/\bfs::|\bOpenOptions\b|\bFile::/)),
            do: Path.relative_to(file, @root)

      assert writers == ["native/driver/src/tls/key_log.rs"]
    end

    test "no profile aborts on a panic" do
      refute File.read!(Path.join(@root, "Cargo.toml")) =~ ~r/panic\s*=\s*"abort"/
    end

    defp manifest(crate), do: File.read!(Path.join(@root, "native/#{crate}/Cargo.toml"))

    defp all_dependencies(crate) do
      Enum.flat_map(
        ~w(dependencies dev-dependencies build-dependencies),
        &dependencies(crate, &1)
      )
    end

    defp dependencies(crate, section) do
      for line <- section_lines(crate, section) do
        [_, name] = Regex.run(~r/^([A-Za-z0-9_-]+)/, line)
        name
      end
    end

    defp dependency_lines(crate) do
      Enum.flat_map(
        ~w(dependencies dev-dependencies build-dependencies),
        &section_lines(crate, &1)
      )
    end

    defp section_lines(crate, section) do
      crate
      |> manifest()
      |> String.split("\n")
      |> Enum.drop_while(&(&1 != "[#{section}]"))
      |> Enum.drop(1)
      |> Enum.take_while(&(not String.starts_with?(&1, "[")))
      |> Enum.reject(&(&1 == "" or String.starts_with?(&1, "#")))
    end

    defp code_lines(file) do
      file
      |> File.read!()
      |> String.split("\n")
      |> Enum.map(&String.replace(&1, ~r{//.*}, ""))
    end
  end

  test "no source file is longer than #{@longest_file} lines" do
    for file <- files("{lib,mix,test}/**/*.{ex,exs}") ++ files("native/*/{src,tests}/**/*.rs") do
      lines = file |> File.stream!() |> Enum.count()
      assert lines <= @longest_file, "#{Path.relative_to(file, @root)} has #{lines} lines"
    end
  end

  defp files(pattern), do: @root |> Path.join(pattern) |> Path.wildcard()
end
