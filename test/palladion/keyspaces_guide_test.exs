defmodule Palladion.KeyspacesGuideTest do
  # Sets environment variables, as the guide's configurations read them.
  use ExUnit.Case, async: false

  import Palladion.Test.Certificates

  alias Palladion.Config

  @guide Path.expand("../../guides/keyspaces.md", __DIR__)
  @variables %{"AWS_REGION" => "eu-west-1", "SHOP_SECRET_KEY" => "between+us"}

  setup :tmp_dir

  setup %{tmp_dir: dir} do
    write!(dir, "password", "generated\n")
    System.put_env(@variables)
    on_exit(fn -> for {name, _} <- @variables, do: System.delete_env(name) end)
  end

  defmodule Credentials do
    def credentials(_role), do: {:error, "not asked for here"}
  end

  defp blocks do
    for [_, code] <- Regex.scan(~r/^```elixir\n(.*?)^```$/ms, File.read!(@guide)), do: code
  end

  defp parse(code, dir) do
    code =
      code
      |> String.replace("/path/to/", dir <> "/")
      |> String.replace("MyApp.AWS", inspect(Credentials))

    {:config, _, [:my_app, {:__aliases__, _, [:MyApp, :DB]}, options]} =
      Code.string_to_quoted!(code)

    {options, _bindings} = Code.eval_quoted(options)
    Config.parse([name: MyApp.DB] ++ options)
  end

  defp configurations, do: for(code <- blocks(), code =~ ~r/^config :my_app/m, do: code)

  test "every configuration can be used", %{tmp_dir: dir} do
    configurations = configurations()
    assert length(configurations) > 8

    for code <- configurations do
      assert {:ok, config} = parse(code, dir), code
      assert config.tls.verify == :peer and config.warnings == [], code
    end
  end

  test "the profile is what it says in other words", %{tmp_dir: dir} do
    [short, long | _] = configurations()
    assert {:ok, short} = parse(short, dir)
    assert {:ok, long} = parse(long, dir)

    for field <- [:contact_points, :local_datacenter, :consistency, :retry, :timeouts],
        do: assert(Map.fetch!(short, field) == Map.fetch!(long, field))

    assert short.tls.verified_name == long.tls.verified_name
    assert Map.delete(short.schema_agreement, :by) == Map.delete(long.schema_agreement, :by)
  end

  test "every name is that of the endpoint, or of the one that was given", %{tmp_dir: dir} do
    for code <- configurations() do
      {:ok, config} = parse(code, dir)

      expected =
        if code =~ "fips",
          do: "cassandra-fips.us-east-1.amazonaws.com",
          else: "cassandra.eu-west-1.amazonaws.com"

      assert config.tls.verified_name == expected, code
    end
  end
end
