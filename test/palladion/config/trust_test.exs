defmodule Palladion.Config.TrustTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.Config.Trust
  alias Palladion.Test.Certificates, as: Make

  setup :tmp_dir

  setup_all do
    %{chain: Make.chain()}
  end

  defp parse(options, system_roots \\ fn -> flunk("the system's roots are not asked for") end) do
    [verify: :verify_peer, cacertfile: nil, cacerts: nil]
    |> Keyword.merge(options)
    |> Map.new()
    |> Trust.parse(system_roots)
  end

  defp problem(options) do
    assert {_, [problem]} = parse(options)
    {problem.path, problem.reason, problem.message}
  end

  test "the system's roots are the default" do
    assert parse([], fn -> ["der"] end) == {["der"], []}
  end

  test "a system without roots is told what to install" do
    assert {[], [problem]} = parse([], fn -> [] end)
    assert %{path: [:tls, :cacertfile], reason: :no_system_roots} = problem
    assert problem.message =~ "ca-certificates"
  end

  test "the real system's roots are certificates, if it has any" do
    {roots, _problems} = Trust.parse(%{verify: :verify_peer, cacertfile: nil, cacerts: nil})

    assert Enum.all?(roots, &is_binary/1)
  end

  test "a file may have many, as PEM, or one as DER", %{tmp_dir: dir, chain: chain} do
    pem = Make.write!(dir, "ca.pem", Make.pem([chain.root, chain.intermediate]))
    der = Make.write!(dir, "ca.der", chain.root)

    assert parse(cacertfile: pem) == {[chain.root, chain.intermediate], []}
    assert parse(cacertfile: der) == {[chain.root], []}
  end

  test "what is wrong with a file is told, with its name", %{tmp_dir: dir, chain: chain} do
    bad = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"

    for {content, reason} <- [
          {"", :empty_file},
          {"text", :unsupported_format},
          {Make.key_pem(chain.key), :no_certificate},
          {bad, :malformed},
          {Make.pem(chain.root) <> bad, :malformed}
        ] do
      path = Make.write!(dir, "ca.pem", content)
      assert {[:tls, :cacertfile], ^reason, message} = problem(cacertfile: path)
      assert message =~ "ca.pem"
    end

    assert {[:tls, :cacertfile], :unreadable, message} = problem(cacertfile: "none/ca.pem")
    assert message == ~s("none/ca.pem" can't be read: no such file or directory)
  end

  test "a list has DER certificates, also as OTP returns them", %{chain: chain} do
    assert parse(cacerts: [chain.root]) == {[chain.root], []}
    assert parse(cacerts: [{:cert, chain.root, :decoded}]) == {[chain.root], []}
  end

  test "what is wrong with a list is told, with the place", %{chain: chain} do
    for bad <- [[], "der", :system, [chain.root | chain.root]] do
      assert {[:tls, :cacerts], :invalid_value, _} = problem(cacerts: bad)
    end

    assert {[:tls, :cacerts, 1], :malformed, message} =
             problem(cacerts: [chain.root, Make.pem(chain.root)])

    assert message =~ "cacertfile:"
  end

  test "trust without verification would have no effect, so it is refused", %{chain: chain} do
    assert parse(verify: :verify_none) == {[], []}

    assert {[:tls, :cacertfile], :conflict, message} =
             problem(verify: :verify_none, cacertfile: "ca.pem")

    assert message =~ "no effect"
    assert {[:tls, :cacerts], :conflict, _} = problem(verify: :verify_none, cacerts: [chain.root])
  end

  test "a file and a list are one too many", %{chain: chain} do
    assert {[:tls, :cacerts], :conflict, _} = problem(cacertfile: "ca.pem", cacerts: [chain.root])
  end
end
