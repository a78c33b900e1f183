defmodule Palladion.Config.TrustTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.Config.Trust
  alias Palladion.Test.Certificates, as: Make

  @openssl System.find_executable("openssl") == nil and "the openssl command is not installed"
  @pin :crypto.hash(:sha256, "certificate")

  setup :tmp_dir

  setup_all do
    %{chain: Make.chain()}
  end

  defp parse(options, system_roots \\ fn -> flunk("the system's roots are not asked for") end) do
    Trust.parse(values(options), system_roots)
  end

  defp values(options) do
    [
      verify: :verify_peer,
      cacertfile: nil,
      cacerts: nil,
      pinned: nil,
      crlfile: nil,
      crls: nil,
      crl_check: nil
    ]
    |> Keyword.merge(options)
    |> Map.new()
  end

  # Authorities alone.
  defp trusts(cacerts), do: %{cacerts: cacerts, pins: [], crls: [], crl_check: :chain}

  defp problem(options) do
    assert {_, [problem]} = parse(options)
    {problem.path, problem.reason, problem.message}
  end

  test "the system's roots are the default" do
    assert parse([], fn -> ["der"] end) == {trusts(["der"]), []}
  end

  test "a system without roots is told what to install" do
    assert {%{cacerts: []}, [problem]} = parse([], fn -> [] end)
    assert %{path: [:tls, :cacertfile], reason: :no_system_roots} = problem
    assert problem.message =~ "ca-certificates"
  end

  test "the real system's roots are certificates, if it has any" do
    {trust, _problems} = Trust.parse(values([]))
    assert Enum.all?(trust.cacerts, &is_binary/1)
  end

  test "a file may have many, as PEM, or one as DER", %{tmp_dir: dir, chain: chain} do
    pem = Make.write!(dir, "ca.pem", Make.pem([chain.root, chain.intermediate]))
    der = Make.write!(dir, "ca.der", chain.root)

    assert parse(cacertfile: pem) == {trusts([chain.root, chain.intermediate]), []}
    assert parse(cacertfile: der) == {trusts([chain.root]), []}
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
    assert parse(cacerts: [chain.root]) == {trusts([chain.root]), []}
    assert parse(cacerts: [{:cert, chain.root, :decoded}]) == {trusts([chain.root]), []}
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
    assert parse(verify: :verify_none) == {trusts([]), []}

    for {name, value} <- [
          cacertfile: "ca.pem",
          cacerts: [chain.root],
          pinned: @pin,
          crlfile: "ca.crl",
          crls: ["der"],
          crl_check: :peer
        ] do
      assert {[:tls, ^name], :conflict, message} =
               problem([{:verify, :verify_none}, {name, value}])

      assert message =~ "no effect"
    end
  end

  test "a file and a list are one too many", %{chain: chain} do
    assert {[:tls, :cacerts], :conflict, _} = problem(cacertfile: "ca.pem", cacerts: [chain.root])
  end

  test "a keystore is no list of authorities, and how to make one of it is told", %{tmp_dir: dir} do
    path = Make.write!(dir, "truststore.p12", <<0x30, 5, 2, 1, 3, 0x30, 0>>)
    assert {[:tls, :cacertfile], :unsupported_format, message} = problem(cacertfile: path)
    assert message =~ "openssl pkcs12 -in FILE -nokeys"
  end

  describe "pinned:" do
    test "alone needs no authority, and asks for no roots of the system" do
      assert parse(pinned: @pin) == {%{trusts([]) | pins: [@pin]}, []}
    end

    test "beside an authority is kept with it", %{chain: chain} do
      assert parse(pinned: @pin, cacerts: [chain.root]) ==
               {%{trusts([chain.root]) | pins: [@pin]}, []}
    end

    test "alone has no authority whose revocation lists could be believed", %{chain: chain} do
      assert {_, [problem]} = parse(pinned: @pin, crlfile: empty_crl())
      assert %{path: [:tls, :crlfile], reason: :conflict} = problem
      assert problem.message =~ "pinned: alone"

      assert {_, []} = parse(pinned: @pin, crlfile: empty_crl(), cacerts: [chain.root])
    end
  end

  describe "revocation lists" do
    @describetag skip: @openssl

    test "come from a file, PEM with any number or DER, or from a list", context do
      %{tmp_dir: dir, chain: chain} = context
      [one, other] = for _ <- 1..2, do: Make.crl!(dir, 2)
      pem = Make.write!(dir, "both.pem", Make.crl_pem(one) <> Make.crl_pem(other))
      der = Make.write!(dir, "one.crl", one)

      for {options, crls} <- [
            {[crlfile: pem], [one, other]},
            {[crlfile: der], [one]},
            {[crls: [other, one]], [other, one]}
          ] do
        assert parse([cacerts: [chain.root]] ++ options) ==
                 {%{trusts([chain.root]) | crls: crls}, []}
      end

      for check <- [:chain, :peer, :best_effort] do
        assert {%{crl_check: ^check}, []} =
                 parse(cacerts: [chain.root], crls: [one], crl_check: check)
      end
    end

    test "what is wrong with them is told, with the file's name or the place", context do
      %{tmp_dir: dir, chain: chain} = context
      crl = Make.crl!(dir, 2)
      bad = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"

      for {content, reason} <- [
            {"", :empty_file},
            {"text", :unsupported_format},
            {Make.pem(chain.root), :no_crl},
            {bad, :malformed},
            {Make.crl_pem(crl) <> bad, :malformed},
            {<<0x30, 5, 2, 1, 3, 0x30, 0>>, :unsupported_format}
          ] do
        path = Make.write!(dir, "ca.crl", content)

        assert {[:tls, :crlfile], ^reason, message} =
                 problem(cacerts: [chain.root], crlfile: path)

        assert message =~ "ca.crl"
      end

      for bad <- [[], "der", [crl | crl]] do
        assert {[:tls, :crls], :invalid_value, _} = problem(cacerts: [chain.root], crls: bad)
      end

      assert {[:tls, :crls, 1], :malformed, message} =
               problem(cacerts: [chain.root], crls: [crl, chain.root])

      assert message =~ "crlfile:"
    end

    test "those of version 1 are refused, with what makes others", context do
      %{tmp_dir: dir, chain: chain} = context
      [old, crl] = for version <- [1, 2], do: Make.crl!(dir, version)
      path = Make.write!(dir, "both.crl", Make.crl_pem(crl) <> Make.crl_pem(old))

      assert {[:tls, :crlfile], :unsupported_format, message} =
               problem(cacerts: [chain.root], crlfile: path)

      assert message =~ "both.crl\" has a revocation list of X.509 v1: number 2; v2 is wanted"
      assert message =~ "crl_extensions"

      assert {[:tls, :crls, 1], :unsupported_format, message} =
               problem(cacerts: [chain.root], crls: [crl, old])

      assert message =~ "is of X.509 v1; v2 is wanted"
    end

    test "a file and a list are one too many", %{chain: chain} do
      assert {[:tls, :crls], :conflict, _} =
               problem(cacerts: [chain.root], crlfile: empty_crl(), crls: ["der"])
    end

    test "a check without lists would have no effect", %{chain: chain} do
      assert {[:tls, :crl_check], :conflict, message} =
               problem(cacerts: [chain.root], crl_check: :chain)

      assert message =~ "crlfile: or crls:"
    end
  end

  defp empty_crl do
    %{tmp_dir: dir} = tmp_dir(%{})
    Make.write!(dir, "ca.crl", Make.crl!(dir, 2))
  end
end
