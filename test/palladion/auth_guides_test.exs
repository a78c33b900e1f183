defmodule Palladion.AuthGuidesTest do
  @moduledoc """
  What the guides to logins say without a server: their configurations can be used, their rules hold, and nothing is missing in
  them.
  """

  # Environment variables are one for all.
  use ExUnit.Case, async: false

  import Palladion.Test.Certificates

  alias Palladion.{Config, ConfigError, ConnectionError}
  alias Palladion.Doctor.Stage
  alias Palladion.Test.Guide

  @pages ~w(authentication auth-password auth-sasl auth-custom auth-certificate auth-sigv4)

  setup :tmp_dir

  setup_all do
    for page <- @pages, do: Guide.compile(page, "MyApp.Parsed")
    %{chain: chain()}
  end

  setup %{tmp_dir: dir} do
    environment = Map.filter(System.get_env(), fn {name, _} -> name =~ ~r/\AAWS_/ end)
    System.put_env(Map.new(environment, fn {name, _value} -> {name, nil} end))
    none = Path.join(dir, "none")
    System.put_env(%{"AWS_CONFIG_FILE" => none, "AWS_SHARED_CREDENTIALS_FILE" => none})
    System.put_env(%{"CASSANDRA_PASSWORD" => "hunter2", "SHOP_SECRET_KEY" => "hunter2"})

    on_exit(fn ->
      for {name, _} <- System.get_env(), name =~ ~r/\AAWS_/, do: System.delete_env(name)
      for name <- ["CASSANDRA_PASSWORD", "SHOP_SECRET_KEY"], do: System.delete_env(name)
      System.put_env(environment)
    end)
  end

  defp parse(options), do: Config.parse([name: MyApp.DB] ++ options)

  defp auth(options), do: parse(tls: false, auth: options)

  defp problems(options) do
    {:error, %ConfigError{problems: problems}} = auth(options)
    for problem <- problems, do: {problem.path, problem.reason}
  end

  test "every configuration can be used", %{tmp_dir: dir, chain: chain} do
    System.put_env("AWS_REGION", "eu-west-1")
    write!(dir, "ca.crt", pem(chain.root))
    write!(dir, "client.crt", pem([chain.leaf, chain.intermediate]))
    write!(dir, "client.key", key_pem(chain.key, :pkcs8))
    write!(dir, "cassandra_password", "hunter2\n")
    [credentials] = Guide.blocks("auth-password", "ini")
    write!(dir, "cassandra.credentials", credentials)
    places = ["/etc/my_app": dir, "/run/secrets": dir]

    for page <- @pages, block <- Guide.configurations(page) do
      block = String.replace(block, ~r/MyApp\.(Scram|Vault|AWS)/, "MyApp.Parsed.\\1")
      options = Guide.options(block, places)
      # Without the system's roots, which may not be there.
      options = Keyword.put_new(options, :tls, cacerts: [chain.root])
      assert {:ok, config} = parse(options), block
      # What is in force can be made of each, and only of a certificate without auth:.
      assert config.auth != nil or options[:tls][:certfile], block
    end
  end

  test "forms exclude each other" do
    forms = [
      [username: "ann", password: "hunter2"],
      [credentials: fn _endpoint -> {:error, "none"} end],
      [authenticator: MyApp.Parsed.Scram],
      [sigv4: [region: "eu-west-1"]],
      [mechanism: :anonymous]
    ]

    for one <- forms, other <- forms, one != other do
      problems = problems(one ++ other ++ [allow_plaintext_password: true])
      assert Enum.any?(problems, &match?({[:auth, _name], :conflict}, &1))
    end
  end

  test "forms of SigV4 exclude each other, too" do
    forms = [
      [profile: "shop"],
      [access_key_id: "AKIAIOSFODNN7EXAMPLE", secret_access_key: "hunter2"],
      [credentials: fn -> {:error, "none"} end]
    ]

    for one <- forms, other <- forms, one != other do
      sigv4 = [region: "eu-west-1"] ++ one ++ other
      problems = problems(sigv4: sigv4, allow_plaintext_password: true)
      assert Enum.any?(problems, &match?({[:auth, :sigv4, _name], :conflict}, &1))
    end
  end

  test "where the region comes from", %{tmp_dir: dir} do
    region = fn sigv4 ->
      with {:ok, config} <- auth(sigv4: sigv4, allow_plaintext_password: true) do
        {:sigv4, %{region: region}} = Config.to_native(config).auth.method
        region
      end
    end

    assert problems(sigv4: true, allow_plaintext_password: true) ==
             [{[:auth, :sigv4, :region], :required}]

    file = write!(dir, "config", "[profile shop]\nregion = eu-north-1\n")
    System.put_env("AWS_CONFIG_FILE", file)
    assert region.(profile: "shop") == "eu-north-1"

    System.put_env("AWS_DEFAULT_REGION", "eu-south-1")
    assert region.(profile: "shop") == "eu-south-1"

    System.put_env("AWS_REGION", "EU-West-1")
    assert region.(profile: "shop") == "eu-west-1"
    assert region.(region: "us-east-2", profile: "shop") == "us-east-2"
  end

  test "the endpoint of Keyspaces is its region's" do
    System.put_env("AWS_REGION", "eu-west-1")
    assert {:ok, config} = parse(profile: :keyspaces)
    assert [%{host: "cassandra.eu-west-1.amazonaws.com", port: 9142}] = config.contact_points
  end

  test "nothing secret is printed" do
    for auth <- [
          [username: "ann", password: "hunter2"],
          [authenticator: {MyApp.Parsed.Scram, password: "hunter2"}],
          [sigv4: [region: "eu-west-1", access_key_id: "AK", secret_access_key: "hunter2"]]
        ] do
      assert {:ok, config} = auth([allow_plaintext_password: true] ++ auth)
      refute inspect(config, limit: :infinity, printable_limit: :infinity) =~ "hunter2"
    end
  end

  test "every reason of a login is in the table" do
    known = %{connect_us: 1, tls: %{}, cql: nil}

    logins =
      for reason <- ConnectionError.reasons(), Stage.of(reason, known, true) == :login, do: reason

    assert length(logins) > 10

    for reason <- [:login_timeout | logins] do
      assert Guide.read("authentication") =~ "| `#{inspect(reason)}` |", inspect(reason)
    end
  end

  test "every link leads somewhere" do
    for page <- @pages, [_, link] <- Regex.scan(~r/\]\(([^)]+)\)/, Guide.read(page)) do
      {file, anchor} =
        case String.split(link, "#") do
          [file] -> {file, nil}
          ["", anchor] -> {page <> ".md", anchor}
          [file, anchor] -> {file, anchor}
        end

      text = Guide.read(Path.rootname(file))
      assert anchor == nil or anchor in anchors(text), "#{page}: #{link}"
    end
  end

  # As they are made of headings.
  defp anchors(text) do
    for [_, title] <- Regex.scan(~r/^#+ (.*)$/m, text) do
      title
      |> String.downcase()
      |> String.replace(~r/[^\w\- ]/u, "")
      |> String.replace(" ", "-")
    end
  end
end
