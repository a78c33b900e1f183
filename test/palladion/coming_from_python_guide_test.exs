defmodule Palladion.ComingFromPythonGuideTest do
  # Sets an environment variable, as the guide's configurations read it.
  use ExUnit.Case, async: false

  import Palladion.Test.Certificates

  alias Palladion.Config
  alias Palladion.Test.Guide

  @root Path.expand("../..", __DIR__)
  @guide File.read!(Path.join(@root, "guides/coming-from-python.md"))

  setup :tmp_dir

  setup do
    secrets = ~w(CASSANDRA_PASSWORD SHOP_SECRET_KEY SHOP_SESSION_TOKEN)
    for name <- secrets, do: System.put_env(name, "hunter2")
    on_exit(fn -> Enum.each(secrets, &System.delete_env/1) end)
    %{chain: chain()}
  end

  defp configurations do
    for [_, code] <- Regex.scan(~r/^```elixir\n(.*?)^```$/ms, @guide),
        code =~ ~r/^config :my_app/m,
        do: code
  end

  test "every configuration can be used", %{tmp_dir: dir, chain: chain} do
    Guide.compile("auth-custom", "MyApp.FromPython")
    for name <- ~w(rootca.crt ca.crt), do: write!(dir, name, pem(chain.root))
    write!(dir, "client.crt_signed", pem([chain.leaf, chain.intermediate]))
    write!(dir, "client.key", key_pem(chain.key, :pkcs8))

    configurations = configurations()
    assert length(configurations) > 12

    for code <- configurations do
      options =
        code
        |> String.replace("/path/to/", dir <> "/")
        |> String.replace("MyApp.Scram", "MyApp.FromPython.Scram")
        |> options()

      assert {:ok, config} = Config.parse([name: MyApp.DB] ++ options), code
      assert config.tls, code
    end
  end

  defp options(code) do
    {:config, _, [:my_app, {:__aliases__, _, [:MyApp, :DB]}, options]} =
      code |> Code.string_to_quoted!() |> last()

    {options, _bindings} = Code.eval_quoted(options)
    options
  end

  defp last({:__block__, _, expressions}), do: List.last(expressions)
  defp last(expression), do: expression

  test "each example of Python has one of ours" do
    for section <- String.split(@guide, ~r/^### /m) |> tl(), section =~ "```python" do
      assert section =~ ~r/```python.*```elixir\nconfig/s, section
    end
  end

  test "every test that a row names is there" do
    named = Regex.scan(~r/`((?:test|native)\/[^`]+)`((?:,? "[^"]+")*)/, @guide)
    assert length(named) > 50

    for [_all, file, names] <- named do
      text = File.read!(Path.join(@root, file))
      names = for [_, name] <- Regex.scan(~r/"([^"]+)"/, names), do: name
      assert names != [], "#{file}: without a name"
      for name <- names, do: assert(text =~ heading(name), "#{file}: #{name}")
    end
  end

  # Where one is made of each row of a table, the row begins with its name, and what differs may
  # follow.
  defp heading(name) do
    ~r/(?:(?:test|describe) "|fn |^ +\{")#{Regex.escape(name)}(?:["(]|[:,] #\{)/m
  end

  test "every row names a test, or why there is none" do
    {_before, tables} = @guide |> String.split("## Every paragraph") |> List.to_tuple()
    rows = for "| " <> _ = line <- String.split(tables, "\n"), line not in headers(), do: line
    assert length(rows) > 80

    for row <- rows do
      assert ["", where, says, here, test, ""] =
               row |> String.split("|") |> Enum.map(&String.trim/1)

      assert where != "" and says != "" and here != "", row
      assert test != "" or here =~ ~r/not carried over|nothing/, row
    end
  end

  defp headers, do: ["| where | it says | here | test |"]
end
