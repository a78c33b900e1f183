defmodule Palladion.Integration.AuthSigV4ChainTest do
  @moduledoc """
  AWS's chain of credentials, in a VM whose environment is a machine's at AWS: what of it reaches Rust, and stand-ins for the
  services that give keys out for seconds.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Certificates, only: [tmp_dir: 1, write!: 3]

  alias Palladion.Test.{AWSChild, ChildVM, Clusters, Logins, Testkit}
  alias Palladion.Test.Testkit.AWS

  @moduletag :capture_log
  @moduletag timeout: 180_000

  @region "us-east-1"

  setup :tmp_dir

  setup do
    server = Testkit.start_server(method: :sigv4, region: @region)
    options = Clusters.options(server, auth: [sigv4: true], reconnect: [min: 50, max: 400])
    %{server: server, options: options}
  end

  # Nothing of this machine's own: neither its variables, nor its files, nor what it may be told at a link-local address.
  defp start_vm(dir, env) do
    unset =
      for {name, _} <- System.get_env(), String.starts_with?(name, "AWS_"), do: {name, false}

    none = [{"HOME", dir}, {"AWS_EC2_METADATA_DISABLED", "true"}]
    env = unset |> Map.new() |> Map.merge(Map.new(none)) |> Map.merge(Map.new(env))
    vm = ChildVM.start(AWSChild, :wait, env: env)
    on_exit(fn -> ChildVM.clean_up(vm) end)
    assert ChildVM.receive(vm) == :ready
    vm
  end

  defp order(vm, order) do
    ChildVM.send(vm, order)
    ChildVM.receive(vm)
  end

  defp access_key(more \\ []) do
    key = "AKIACHAIN#{System.unique_integer([:positive])}"
    secret = "secret/#{Base.encode64(:crypto.strong_rand_bytes(18))}"
    AWS.access_key([access_key_id: key, secret: secret] ++ more)
    {key, secret}
  end

  defp variables({key, secret}, more \\ []) do
    [{"AWS_ACCESS_KEY_ID", key}, {"AWS_SECRET_ACCESS_KEY", secret} | more]
  end

  defp last_key(server), do: Logins.last_login(server).access_key_id

  defp assert_logs_in(vm, options, name \\ :a) do
    assert order(vm, {:start, name, options}) == :ok
    assert order(vm, {:await, name, 20_000}) == :ok, inspect(order(vm, {:failure, name}))
  end

  describe "the environment" do
    test "of before the VM started", %{server: server, options: options, tmp_dir: dir} do
      {id, _} = key = access_key(session_token: "a+token/=")
      env = variables(key, [{"AWS_SESSION_TOKEN", "a+token/="}, {"AWS_REGION", "US-EAST-1"}])
      vm = start_vm(dir, env)
      assert_logs_in(vm, options)
      assert last_key(server) == id
    end

    test "by System.put_env", %{server: server, options: options, tmp_dir: dir} do
      vm = start_vm(dir, [])
      {id, _} = key = access_key()
      region = [{"AWS_DEFAULT_REGION", @region}]
      assert order(vm, {:put_env, Map.new(variables(key, region))}) == :ok
      assert_logs_in(vm, options)
      assert last_key(server) == id

      # What is set later is read when asked for.
      {id, _} = other = access_key()
      assert order(vm, {:put_env, Map.new(variables(other))}) == :ok
      assert order(vm, {:reconnect, :a}) == :ok
      assert order(vm, {:update, :a, []}) == :ok
      assert order(vm, {:reconnect, :a}) == :ok
      assert last_key(server) == id
    end

    test "without a region, or with nothing in it", %{options: options, tmp_dir: dir} do
      vm = start_vm(dir, variables(access_key()))

      assert order(vm, {:start, :a, options}) ==
               {:config, [{[:auth, :sigv4, :region], :required}]}

      vm = start_vm(dir, [{"AWS_REGION", @region}])
      assert order(vm, {:start, :a, options}) == :ok
      assert {:error, _, _} = order(vm, {:await, :a, 3_000})
      assert {:credentials_missing, message} = order(vm, {:failure, :a})
      assert message =~ "AWS"
    end
  end

  test "profiles of the shared files", %{server: server, options: options, tmp_dir: dir} do
    {id, secret} = access_key()
    {other_id, other_secret} = access_key()
    File.mkdir!(Path.join(dir, ".aws"))

    write!(dir, ".aws/credentials", """
    [default]
    aws_access_key_id = #{id}
    aws_secret_access_key = #{secret}

    [other]
    aws_access_key_id = #{other_id}
    aws_secret_access_key = #{other_secret}
    """)

    write!(dir, ".aws/config", """
    [default]
    region = #{@region}

    [profile other]
    region = US-EAST-1
    """)

    vm = start_vm(dir, [])
    assert_logs_in(vm, options)
    assert last_key(server) == id

    other = Keyword.put(options, :auth, sigv4: [profile: "other"])
    assert_logs_in(vm, other, :b)
    assert last_key(server) == other_id

    assert order(vm, {:put_env, %{"AWS_PROFILE" => "other"}}) == :ok
    assert_logs_in(vm, options, :c)
    assert last_key(server) == other_id
  end

  # Each gives out keys for seconds: all connections log in anew all the time, and no login fails.
  describe "keys that expire after seconds:" do
    # How long one is good.
    @validity 2_000

    test "of IMDSv2", context do
      aws = AWS.start(:imds, validity: @validity, region: @region)

      env = [
        {"AWS_EC2_METADATA_DISABLED", "false"},
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.url},
        {"AWS_REGION", @region}
      ]

      assert_rotates(context, aws, env)
      assert %{tokens: tokens} = AWS.counters(aws)
      assert tokens > 0
    end

    test "of a container", context do
      aws = AWS.start(:container, validity: @validity, authorization: "the token")

      assert_rotates(context, aws, [
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI", aws.url <> "/credentials"},
        {"AWS_CONTAINER_AUTHORIZATION_TOKEN", "the token"},
        {"AWS_REGION", @region}
      ])
    end

    test "of STS, by a web identity", %{tmp_dir: dir} = context do
      aws = AWS.start(:sts, validity: @validity, web_identity_token: "a token of the identity's")

      assert_rotates(context, aws, [
        {"AWS_WEB_IDENTITY_TOKEN_FILE", write!(dir, "token", "a token of the identity's")},
        {"AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/app"},
        {"AWS_ROLE_SESSION_NAME", "palladion"},
        {"AWS_ENDPOINT_URL_STS", aws.url},
        {"AWS_REGION", @region}
      ])
    end
  end

  defp assert_rotates(%{server: server, options: options, tmp_dir: dir}, aws, env) do
    vm = start_vm(dir, env)
    assert_logs_in(vm, options)
    assert order(vm, {:reconnect_for, :a, 5 * @validity}) > 5
    assert %{logins_refused: 0, connect_failures: 0} = order(vm, {:stats, :a})
    assert %{failed_logins: 0} = Testkit.counters(server)
    assert %{issued: issued} = AWS.counters(aws)
    assert issued >= 4
  end

  # Asked twice a second.
  defp await_failure(vm, times) do
    with nil when times > 0 <- order(vm, {:failure, :a}) do
      Process.sleep(500)
      await_failure(vm, times - 1)
    end
  end

  describe "a provider that" do
    for {fault, reasons} <- [
          hang: [:credentials_timeout],
          failure: [:credentials_failed, :credentials_missing],
          half: [:credentials_failed, :credentials_missing],
          garbage: [:credentials_failed, :credentials_missing],
          expired: [:credentials_expired, :credentials_failed]
        ] do
      @tag fault: fault, reasons: reasons
      test "gives #{fault}: its own reason, in time", context do
        %{server: server, options: options, fault: fault, reasons: reasons} = context
        aws = AWS.start(:container, fault: fault)

        vm =
          start_vm(context.tmp_dir, [
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI", aws.url <> "/credentials"},
            {"AWS_REGION", @region}
          ])

        # What fails at once is tried again by AWS' SDK, for as long as a busy machine makes it.
        timeout = if fault == :hang, do: 2_000, else: 20_000
        options = Keyword.put(options, :auth, sigv4: true, timeout: timeout)
        assert order(vm, {:start, :a, [login_timeout: 30_000] ++ options}) == :ok
        assert {:error, _, _} = order(vm, {:await, :a, 3_000})
        assert {reason, _message} = await_failure(vm, 60)
        assert reason in reasons
        assert %{logins: 0} = Testkit.counters(server)

        AWS.set(aws)
        assert order(vm, {:await, :a, 20_000}) == :ok
      end
    end
  end
end
