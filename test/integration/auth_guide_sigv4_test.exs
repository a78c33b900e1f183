defmodule Palladion.Integration.AuthGuideSigV4Test do
  @moduledoc """
  Each configuration of `guides/auth-sigv4.md` logs in to a server that computes the signature by itself.
  """

  # The configurations read environment variables, which are one for all.
  use ExUnit.Case, async: false

  import Palladion.Test.Clusters, except: [options: 2]
  import Palladion.Test.Logins

  alias Palladion.Test.{Certificates, Guide, Testkit}
  alias Palladion.Test.Testkit.AWS

  @moduletag :capture_log

  @key "AKIAIOSFODNN7EXAMPLE"
  @secret "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
  @text Guide.read("auth-sigv4")
  @clients Guide.configurations("auth-sigv4")

  setup_all do
    Guide.compile("auth-sigv4")
    :ok
  end

  setup do
    environment = Map.filter(System.get_env(), fn {name, _} -> name =~ ~r/\A(AWS_|SHOP_)/ end)
    System.put_env(Map.new(environment, fn {name, _value} -> {name, nil} end))

    on_exit(fn ->
      for {name, _} <- System.get_env(), name =~ ~r/\A(AWS_|SHOP_)/, do: System.delete_env(name)
      System.put_env(environment)
      Application.delete_env(:my_app, :assume_role)
    end)

    AWS.access_key(access_key_id: @key, secret: @secret)
    server = Testkit.start_server(method: :sigv4, region: "eu-west-1")
    Map.put(Certificates.tmp_dir(%{}), :server, server)
  end

  test "there are as many clients as the guide means to have" do
    assert length(@clients) == 4
  end

  test "the environment's credentials and region", %{server: server} do
    System.put_env("AWS_ACCESS_KEY_ID", @key)
    System.put_env("AWS_SECRET_ACCESS_KEY", @secret)
    System.put_env("AWS_REGION", "EU-West-1")
    assert logs_in(server, ~r/sigv4: true/) == @key
  end

  test "a profile's", %{server: server, tmp_dir: dir} do
    file = Path.join(dir, "credentials")

    File.write!(file, """
    [shop]
    aws_access_key_id = #{@key}
    aws_secret_access_key = #{@secret}
    """)

    System.put_env("AWS_SHARED_CREDENTIALS_FILE", file)
    System.put_env("AWS_CONFIG_FILE", Path.join(dir, "none"))
    assert logs_in(server, ~r/profile: "shop"/) == @key
  end

  test "keys", %{server: server} do
    System.put_env("SHOP_SECRET_KEY", @secret)
    assert logs_in(server, ~r/access_key_id:/) == @key
  end

  test "a function", %{server: server} do
    id = "ASIAIOSFODNN7EXAMPLE"
    AWS.access_key(access_key_id: id, secret: @secret, session_token: "a+b/c=")

    Application.put_env(:my_app, :assume_role, fn "shop-reader" ->
      expires = DateTime.add(DateTime.utc_now(), 3_600)
      {:ok, %{key: id, secret: @secret, token: "a+b/c=", expires_at: expires}}
    end)

    assert logs_in(server, ~r/MyApp.AWS/) == id
  end

  # Stands for AWS' own, which has logged in somewhere.
  @command """
  #!/bin/sh
  [ "$1 $2 $3 $4 $5" = "configure export-credentials --format env-no-export --profile" ] || exit 2
  [ "$6" = shop ] || { echo "The config profile ($6) could not be found" >&2; exit 255; }
  echo AWS_ACCESS_KEY_ID=ASIAIOSFODNN7COMMAND
  echo AWS_SECRET_ACCESS_KEY=#{@secret}
  echo AWS_SESSION_TOKEN=a+b/c==
  echo AWS_CREDENTIAL_EXPIRATION=2099-01-01T00:00:00+00:00
  """

  test "AWS' command", %{server: server, tmp_dir: dir} do
    id = "ASIAIOSFODNN7COMMAND"
    AWS.access_key(access_key_id: id, secret: @secret, session_token: "a+b/c==")
    file = Path.join(dir, "aws")
    File.write!(file, @command)
    File.chmod!(file, 0o755)
    path = System.fetch_env!("PATH")
    System.put_env("PATH", dir <> ":" <> path)
    on_exit(fn -> System.put_env("PATH", path) end)

    [[_, code]] = Regex.scan(~r/It is `(sigv4: [^`]+)`/, @text)
    {[sigv4: sigv4], _bindings} = Code.eval_string("[#{code}]")
    options = server |> client(~r/MyApp.AWS/) |> Keyword.put(:auth, sigv4: sigv4)
    assert mechanisms(ready_cluster!(server, options)) == ["SigV4"]
    assert %{access_key_id: ^id} = last_login(server)

    other = Keyword.update!(sigv4, :credentials, &put_elem(&1, 2, ["other"]))
    options = Keyword.put(options, :auth, sigv4: other)
    error = refused!(server, options, :credentials_failed)
    assert Exception.message(error) =~ "aws ended with 255"
  end

  test "a wrong secret is a signature that is refused", %{server: server} do
    System.put_env("SHOP_SECRET_KEY", "another")
    refused!(server, client(server, ~r/access_key_id:/), :signature_refused)
  end

  test "so is another region" do
    System.put_env("SHOP_SECRET_KEY", @secret)
    server = Testkit.start_server(method: :sigv4, region: "us-east-1")
    refused!(server, client(server, ~r/access_key_id:/), :signature_refused)
  end

  test "a role that can't be assumed", %{server: server} do
    Application.put_env(:my_app, :assume_role, fn _role -> :error end)
    error = refused!(server, client(server, ~r/MyApp.AWS/), :credentials_failed)
    assert Exception.message(error) =~ "the role can't be assumed"
  end

  defp client(server, which) do
    [client] = for client <- @clients, client =~ which, do: client
    options = Guide.options(client)
    assert options[:contact_points] == ["cassandra.eu-west-1.amazonaws.com:9142"]

    Keyword.merge(options,
      contact_points: [{"localhost", server.port}],
      tls: [cacertfile: server.cacertfile]
    )
  end

  defp logs_in(server, which) do
    name = ready_cluster!(server, client(server, which))
    assert [_] = Palladion.query!(name, "SELECT release_version FROM system.local").rows
    assert mechanisms(name) == ["SigV4"]
    [id] = Enum.uniq(for %{access_key_id: id} <- Testkit.connections(server), id != nil, do: id)
    id
  end
end
